/** The tasks as processes, with the models that ship: vqa, instruct, chat, attend, embed, n-best and drawn captions. */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PHOTOS, ROOT, everything, querent, temporary } from './command-line.ts';

const [astronaut = '', cat = ''] = ['astronaut.jpg', 'cat.jpg'].map((name) => join(PHOTOS, name));
const WRITING = ['--model', join(ROOT, 'models', 'querent-mini'), '--threads', '1'];
const READING = ['--model', join(ROOT, 'models', 'querent-mini-retrieval'), '--threads', '1'];
/** Several processes, each of which loads a model: time for a machine with other work. */
const PATIENT = { timeout: 300_000 };

let folder: Awaited<ReturnType<typeof temporary>>;
beforeAll(async () => {
  folder = await temporary();
});
afterAll(() => folder[Symbol.asyncDispose]());

/** One JSON value a line. */
function lines(stdout: string): Record<string, unknown>[] {
  return stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
}

it('caption --n prints so many lines a photograph, best first; draws repeat with their seed', PATIENT, async () => {
  const { code, stdout, stderr } = await querent(['caption', astronaut, cat, ...WRITING, '--n', '2', '--prompt', 'a photo of', '--max-new-tokens', '6']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout.trimEnd().split('\n').map((line) => line.split('   ')[0])).toEqual([astronaut, astronaut, cat, cat]);
  const draw = ['caption', astronaut, ...WRITING, '--top-p', '0.9', '--seed', '5', '--n', '3', '--max-new-tokens', '6', '--json'];
  const [one, other] = [await querent(draw), await querent(draw)];
  expect(one.stdout).toBe(other.stdout);
  const texts = (lines(one.stdout)[0]!['nBest'] as { text: string }[]).map(({ text }) => text);
  expect(new Set(texts).size).toBe(3);
});

it('vqa takes the question last, or by name, and chooses from candidates in words or in a file', PATIENT, async () => {
  const asked = await querent(['vqa', astronaut, cat, 'What is it?', ...WRITING, '--json']);
  expect({ code: asked.code, stderr: asked.stderr }).toEqual({ code: 0, stderr: '' });
  expect(lines(asked.stdout)).toEqual([astronaut, cat].map((image) => ({ image, question: 'What is it?', answer: expect.any(String) as string, score: expect.any(Number) as number })));
  const list = join(folder.path, 'answers.txt');
  await writeFile(list, 'yes\nno\n\n');
  const words = await querent(['vqa', astronaut, '--question', 'Is it?', '--candidates', 'yes, no', ...WRITING]);
  const file = await querent(['vqa', astronaut, 'Is it?', '--candidates', list, ...WRITING]);
  expect(words.stdout).toMatch(/ {3}(yes|no)\n$/);
  expect(file.stdout).toBe(words.stdout);
});

it('vqa without a question, and with a question but no photograph, are mistakes that load nothing', PATIENT, async () => {
  for (const args of [['vqa', astronaut], ['vqa', '--question', 'What?']]) {
    const { code, stdout, stderr } = await querent([...args, '--model', join(folder.path, 'nowhere')]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('QRT_USAGE');
  }
});

it('instruct writes about one photograph as it goes, about several a line each, and goes on past a broken one', PATIENT, async () => {
  const how = [...WRITING, '--max-new-tokens', '8'];
  const one = await querent(['instruct', astronaut, 'a photo of', ...how]);
  expect({ code: one.code, stderr: one.stderr }).toEqual({ code: 0, stderr: '' });
  const many = join(folder.path, 'photos');
  await mkdir(many);
  await copyFile(astronaut, join(many, 'a.jpg'));
  await writeFile(join(many, 'b.jpg'), 'no picture');
  const { code, stdout, stderr } = await querent(['instruct', many, 'a photo of', ...how]);
  expect(code).toBe(1);
  expect(stdout.slice(many.length + '/a.jpg'.length)).toBe(one.stdout.slice(astronaut.length));
  expect(stderr).toContain('QRT_IMAGE');
});

it('chat answers each line of standard input, with what was said before in mind', PATIENT, async () => {
  const talk = (text: string): ReturnType<typeof querent> => querent(['chat', astronaut, cat, ...WRITING, '--max-new-tokens', '6', '--json'], { stdin: Buffer.from(text) });
  const { code, stdout, stderr } = await talk('What is it?\n\nAnd where?\n');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const [first, second, ...rest] = lines(stdout);
  expect(rest).toEqual([]);
  expect(first).toMatchObject({ role: 'assistant', content: expect.any(String) as string });
  const forgetful = lines((await talk('What is it?\n/forget\nAnd where?\n')).stdout);
  expect(forgetful[0]).toEqual(first);
  expect(forgetful[1]!['score']).not.toBe(second!['score']);
  const said = await querent(['chat', astronaut, cat, ...WRITING, '--max-new-tokens', '6', '--message', 'What is it?']);
  expect(said.stdout.trim()).toBe(first!['content']);
  expect((await querent(['chat', '-', ...WRITING])).code).toBe(2);
});

it('attend writes a picture whole, or numbers, and nothing where it cannot', PATIENT, async () => {
  const out = join(folder.path, 'heat.png');
  const { code, stdout, stderr } = await querent(['attend', astronaut, 'a smiling woman', '--out', out, ...READING, '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect((lines(stdout)[0]!['maps'] as { word: string }[]).map(({ word }) => word)).toEqual(['a', 'smiling', 'woman']);
  expect((await readFile(out)).subarray(1, 4).toString()).toBe('PNG');
  const nowhere = await querent(['attend', astronaut, '--out', join(folder.path, 'none', 'heat.png'), ...READING]);
  expect(nowhere.code).toBe(1);
  expect(nowhere.stderr).toContain('QRT_FILE');
  expect((await querent(['attend', astronaut])).code).toBe(2);
  expect((await everything(folder.path)).filter((name) => name.includes('partial'))).toEqual([]);
});

it('embed gives vectors of photographs, of a text, and of both read together', PATIENT, async () => {
  const { code, stdout } = await querent(['embed', cat, '--text', 'a cat', ...READING]);
  expect(code).toBe(0);
  const told = lines(stdout).map(({ text, image, vectors }) => ({ text, image, count: (vectors as number[][]).length }));
  expect(told).toEqual([{ text: 'a cat', image: undefined, count: 1 }, { text: undefined, image: cat, count: 16 }]);
  const both = await querent(['embed', cat, '--text', 'a cat', '--together', ...READING]);
  expect(lines(both.stdout)).toEqual([{ image: cat, text: 'a cat', vectors: expect.any(Array) as number[][] }]);
  expect((await querent(['embed', cat, '--together', ...READING])).code).toBe(2);
});
