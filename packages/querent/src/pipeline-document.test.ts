import { compileSchema, isQuerentError } from '@querent/core';
import { taskPlugins } from '@querent/tasks';
import { describe, expect, test } from 'vitest';
import { parsePipeline, pipelineSchema } from './pipeline-document.ts';

const good = { model: 'm', source: { folder: 'photos' }, stages: [{ task: 'caption', numBeams: 5 }, { task: 'match', threshold: 0.6 }], sink: { jsonl: 'out.jsonl' } };

/** Pointer and message of each mistake. */
function mistakesOf(document: unknown): { readonly pointer: string; readonly message: string }[] {
  try {
    parsePipeline(document, { tasks: taskPlugins });
    return [];
  } catch (error) {
    if (!isQuerentError(error)) throw error;
    expect(error.code).toBe('QRT_CONFIG_INVALID');
    return (error.details as { readonly mistakes: { readonly pointer: string; readonly message: string }[] }).mistakes;
  }
}

test('schema/pipeline.json is the schema of the built-in tasks (vitest -u writes it)', async () => {
  await expect(`${JSON.stringify(pipelineSchema(taskPlugins), null, 2)}\n`).toMatchFileSnapshot('../schema/pipeline.json');
  expect(compileSchema(pipelineSchema(taskPlugins))(good)).toBe(true);
});

test('a good document is given back', () => {
  expect(parsePipeline(good, { tasks: taskPlugins })).toBe(good);
  expect(mistakesOf({ ...good, source: { jsonl: 'a.jsonl' }, stages: [{ task: 'match' }] })).toEqual([]);
  expect(mistakesOf({ ...good, source: { list: [{ image: 'a', text: 'b' }] }, stages: [{ task: 'match' }] })).toEqual([]);
  expect(mistakesOf({ ...good, stages: [{ task: 'vqa', question: 'what?', as: 'answer' }, { task: 'match', inputs: { text: 'answer.text' } }] })).toEqual([]);
});

describe('a mistake is told at its JSON pointer', () => {
  test.each([
    [{ ...good, modle: 'x' }, '/modle', 'Did you mean "model"'],
    [{ source: good.source, stages: good.stages }, '', '"model" is missing'],
    [{ ...good, stages: [] }, '/stages', 'a list of 0'],
    [{ ...good, stages: [{ task: 'captoin' }] }, '/stages/0/task', 'Did you mean "caption"'],
    [{ ...good, stages: [{}] }, '/stages/0', '"task" is missing'],
    [{ ...good, stages: [{ task: 'caption', numBeam: 5 }] }, '/stages/0/numBeam', 'Did you mean "numBeams"'],
    [{ ...good, stages: [{ task: 'caption', threshold: 0.5 }] }, '/stages/0/threshold', 'unknown key'],
    [{ ...good, stages: [{ task: 'caption', numBeams: 'five' }] }, '/stages/0/numBeams', 'expected an integer'],
    [{ ...good, source: { folder: 'a', jsonl: 'b' } }, '/source', 'one with "folder" or one with "jsonl"'],
    [{ ...good, source: {} }, '/source', 'an empty object'],
    [{ ...good, sink: { jsonl: 'a', stdout: 'json' } }, '/sink', 'one with'],
    [{ ...good, retry: { attempts: 0 } }, '/retry/attempts', '0'],
    [42, '', '42'],
  ])('%j', (document, pointer, message) => {
    const mistakes = mistakesOf(document);
    expect(mistakes[0]?.pointer).toBe(pointer);
    expect(mistakes[0]?.message).toContain(message);
    expect(mistakes).toHaveLength(1);
  });

  test('stages in the wrong order', () => {
    const [only] = mistakesOf({ ...good, stages: [{ task: 'match' }, { task: 'caption' }] });
    expect(only).toMatchObject({ pointer: '/stages/0', message: expect.stringMatching(/"text" is missing.*\/stages\/1 gives "text", but only after it/) });
  });

  test('a stage without what it needs, one that writes over another, an input that nobody gives', () => {
    expect(mistakesOf({ ...good, stages: [{ task: 'match' }] })).toMatchObject([{ pointer: '/stages/0', message: expect.stringContaining('caption') }]);
    expect(mistakesOf({ ...good, stages: [{ task: 'caption' }, { task: 'vqa', question: 'what?' }] })).toMatchObject([{ pointer: '/stages/1', message: expect.stringContaining('"as": "vqa"') }]);
    expect(mistakesOf({ ...good, stages: [{ task: 'caption' }, { task: 'match', inputs: { text: 'answer.text' } }] })).toMatchObject([{ pointer: '/stages/1/inputs/text', message: expect.stringContaining('"answer"') }]);
    expect(mistakesOf({ ...good, source: { list: [{ text: 'b' }] }, stages: [{ task: 'caption' }] })[0]).toMatchObject({ pointer: '/stages/0', message: expect.stringContaining('"image" is missing') });
  });
});
