/** Pipeline documents run in code: sources, sinks, going on after a stop, mistakes at their pointer, models loaded once. */
import { cp, mkdtemp, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createQuerent } from 'querent';
import type { Querent } from 'querent';
import { runPipeline } from 'querent/run';
import type { PipelineDocument, PipelineEvent } from 'querent/run';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { writePictures, writeTinyModel } from '../../packages/querent/test/tiny-models.ts';

let root = '';
let folder = '';
let querent: Querent;
let loads: string[] = [];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-document-'));
  await writeTinyModel(root, 'llama');
  await writeTinyModel(root, 'retrieval');
  await cp(join(root, 'retrieval'), join(root, 'llama-retrieval'), { recursive: true });
  await writePictures(join(root, 'pictures'));
  const made = await createQuerent({ inPlace: true, threads: 1 });
  querent = { ...made, load: (from, options) => (loads.push(String(from)), made.load(from, options)) };
});
beforeEach(async () => {
  loads = [];
  folder = await mkdtemp(join(root, 'case-'));
  await cp(join(root, 'pictures'), join(folder, 'photos'), { recursive: true });
});
afterAll(async () => {
  await querent.dispose();
  await rm(root, { recursive: true, force: true });
});

const caption = { task: 'caption', numBeams: 1, maxNewTokens: 4 };
const document = (rest: Partial<PipelineDocument>): PipelineDocument => ({ model: '../llama', source: { folder: 'photos', glob: '**/*' }, stages: [caption], ...rest });

async function run(pipeline: PipelineDocument, options: { readonly restart?: boolean; readonly signal?: AbortSignal } = {}): Promise<PipelineEvent[]> {
  const events: PipelineEvent[] = [];
  for await (const event of runPipeline(pipeline, { querent, baseDir: folder, ...options })) events.push(event);
  return events;
}

const results = (events: readonly PipelineEvent[]): Readonly<Record<string, unknown>>[] => events.flatMap((event) => (event.type === 'item' ? [event.result] : []));
const rows = async (file: string): Promise<Record<string, unknown>[]> =>
  (await readFile(join(folder, file), 'utf8')).trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);

/** As `rows`, without what libvips says of a broken file: it mixes what two of its threads say. */
const settled = async (file: string): Promise<Record<string, unknown>[]> =>
  (await rows(file)).map((row) => (row['error'] === undefined ? row : { ...row, error: (row['error'] as { code: string }).code }));

describe('a document', () => {
  test('captions and matches a folder; each model is loaded once, the second one found beside the first', async () => {
    const events = await run(document({ stages: [caption, { task: 'match', threshold: 0.6 }, { task: 'embed', as: 'vectors', inputs: {} }] }));
    const names = (await readdir(join(folder, 'photos'))).toSorted();
    expect(results(events).map(({ image }) => image)).toEqual(names.map((name) => join('photos', name)));
    for (const result of results(events)) {
      if (result['error'] === undefined) expect(result).toMatchObject({ text: expect.any(String), isMatch: expect.any(Boolean), vectors: { of: 'both' } });
      else expect(result).toEqual({ image: expect.any(String), error: { code: 'QRT_IMAGE', message: expect.any(String), fix: expect.any(String) } });
    }
    expect(events.at(-1)).toMatchObject({ type: 'end', done: 6, failed: 3, stages: [{ name: 'caption', failed: 3 }, { name: 'match', failed: 0 }, { name: 'vectors' }] });
    expect(loads).toEqual([join(root, 'llama'), join(root, 'llama-retrieval')]);
  });

  test('reads a list and a JSON Lines file, whose fields are kept and read, and whose paths count from it', async () => {
    const [first = ''] = (await readdir(join(folder, 'photos'))).toSorted();
    const list = await run(document({ source: { list: [join('photos', first)] } }));
    await writeFile(join(folder, 'photos', 'rows.jsonl'), `{"id":7,"image":${JSON.stringify(first)},"text":"a dog"}\n\n{"id":8,"image":"nowhere.png","text":"x"}\n`);
    const lines = await run(document({ model: '../retrieval', source: { jsonl: 'photos/rows.jsonl' }, stages: [{ task: 'match' }] }));
    expect(results(list)).toMatchObject([{ image: join('photos', first), text: expect.any(String) }]);
    expect(results(lines)).toMatchObject([{ id: 7, image: first, text: 'a dog', probability: expect.any(Number) }, { id: 8, error: { code: 'QRT_IMAGE' } }]);
    await writeFile(join(folder, 'photos', 'rows.jsonl'), '{"image":"a.png","text":"x"}\n[1]\n');
    await expect(run(document({ model: '../retrieval', source: { jsonl: 'photos/rows.jsonl' }, stages: [{ task: 'match' }] }))).rejects.toMatchObject({ code: 'QRT_DATASET', message: expect.stringContaining(':2 ') });
  });

  test('reads only what the glob fits', async () => {
    const events = await run(document({ source: { folder: 'photos', glob: '*{a,or}*.png' } }));
    expect(results(events).every(({ image }) => /a|or/.test(String(image)))).toBe(true);
    await expect(run(document({ source: { folder: 'nowhere' } }))).rejects.toMatchObject({ code: 'QRT_FILE' });
  });
});

describe('a sink', () => {
  test('has its file only when all of it is there; a stopped run goes on behind what it had', async () => {
    const pipeline = document({ sink: { jsonl: 'out/captions.jsonl' } });
    let seen = 0;
    for await (const event of runPipeline(pipeline, { querent, baseDir: folder })) if (event.type === 'item' && ++seen === 2) break;
    const [partial = ''] = await readdir(join(folder, 'out'));
    expect(partial).toMatch(/^captions\.jsonl\.[0-9a-f]+\.partial$/);
    await writeFile(join(folder, 'out', partial), '{"image":"pho', { flag: 'a' }); // what a kill leaves
    const events = await run(pipeline);
    expect(events[0]).toMatchObject({ type: 'resumed', done: 2 });
    expect(events.flatMap((event) => (event.type === 'item' ? [event.index] : []))).toEqual([2, 3, 4, 5]);
    expect(await readdir(join(folder, 'out'))).toEqual(['captions.jsonl']);
    const once = await settled('out/captions.jsonl');
    await run(pipeline, { restart: true });
    expect(await settled('out/captions.jsonl')).toEqual(once);
    expect(once).toHaveLength(6);
  });

  test('does not go on when the source has changed, unless it begins anew', async () => {
    const pipeline = document({ sink: { jsonl: 'captions.jsonl' } });
    for await (const event of runPipeline(pipeline, { querent, baseDir: folder })) if (event.type === 'item') break;
    await cp(join(folder, 'photos', (await readdir(join(folder, 'photos')))[0]!), join(folder, 'photos', '0-new.png'));
    await expect(run(pipeline)).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('/source') });
    expect((await run(pipeline, { restart: true })).at(-1)).toMatchObject({ done: 7 });
  });

  test('writes one JSON array, also of nothing', async () => {
    await run(document({ sink: { json: 'all.json' } }));
    expect(JSON.parse(await readFile(join(folder, 'all.json'), 'utf8'))).toHaveLength(6);
    await run(document({ source: { list: [] }, sink: { json: 'none.json' } }));
    expect(JSON.parse(await readFile(join(folder, 'none.json'), 'utf8'))).toEqual([]);
    await mkdir(join(folder, 'taken'));
    await expect(run(document({ sink: { json: 'taken' } }))).rejects.toMatchObject({ code: 'QRT_FILE' });
    expect((await readdir(folder)).toSorted()).toEqual(['all.json', 'none.json', 'photos', 'taken']);
  });
});

describe('is refused at its JSON pointer', () => {
  test('a model that is not there, and one that cannot do a stage', async () => {
    await expect(run(document({ model: '../nowhere' }))).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('/model  the model "../nowhere" is not there') });
    await expect(run(document({ stages: [caption, { task: 'match', model: '../lost' }] }))).rejects.toMatchObject({ message: expect.stringContaining('/stages/1/model') });
    await expect(run(document({ model: '../retrieval' }))).rejects.toMatchObject({ message: expect.stringContaining('/stages/0  the task caption needs a model that can generate') });
  });
});

test('an abort ends a run with its own reason and keeps what is written', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const read = async (): Promise<void> => {
    for await (const event of runPipeline(document({ sink: { jsonl: 'c.jsonl' } }), { querent, baseDir: folder, signal: controller.signal })) if (event.type === 'item') controller.abort(reason);
  };
  await expect(read()).rejects.toBe(reason);
  expect((await readdir(folder)).some((name) => name.endsWith('.partial'))).toBe(true);
});
