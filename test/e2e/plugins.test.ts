/** Plugins on the command line: what `--plugin` reaches, and what is said when it reaches nothing. */
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GOLDENS, PHOTOS, querent, temporary, tinyModel } from './command-line.ts';

/** Each test starts a few processes, a second or two each where nothing else runs. */
const PROCESSES_MS = 300_000;

let folder: Awaited<ReturnType<typeof temporary>>;
beforeAll(async () => {
  folder = await temporary();
  const file = (name: string, text: string): Promise<void> => writeFile(join(folder.path, name), text);
  await file('metric.mjs', `export default { kind: 'metric', name: 'words', contract: 1, description: 'Words a caption.',
    evaluate: (judged) => ({ figures: { words: judged.reduce((sum, { prediction }) => sum + prediction.split(' ').length, 0) / judged.length, images: judged.length } }) };`);
  await file('old.mjs', `export default { kind: 'metric', name: 'words', contract: 3, evaluate() {} };`);
  await file('throws.mjs', `throw new Error('not today');`);
  await file('text.mjs', `export default 'a text';`);
});
afterAll(() => folder[Symbol.asyncDispose]());

it('a metric of a plugin is shown beside the usual ones', async () => {
  const model = await tinyModel(folder.path);
  await cp(join(PHOTOS, 'cat.jpg'), join(folder.path, 'cat.jpg'));
  await writeFile(join(folder.path, 'captions.json'), JSON.stringify({ images: [{ filename: 'cat.jpg', split: 'test', sentences: [{ raw: 'A cat looks up.' }] }] }));
  const words = ['evaluate', 'caption', '--model', model, '--images', '.', '--annotations', 'captions.json', '--plugin', './metric.mjs'];
  const { code, stdout, stderr } = await querent([...words, '--metric', 'words, ROUGE_L', '--json'], { cwd: folder.path });
  expect([code, stderr]).toEqual([0, '']);
  const figures = JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  expect(figures).toMatchObject({ more: { words: { images: 1 }, ROUGE_L: { ROUGE_L: figures['ROUGE_L'] } } });
  const near = await querent([...words, '--metric', 'wrods'], { cwd: folder.path });
  expect([near.code, near.stderr]).toEqual([2, expect.stringContaining('Did you mean "words"?')]);
}, PROCESSES_MS);

it('what cannot be a plugin is said in a sentence, on every command', async () => {
  for (const [plugin, code, message] of [
    ['querent-plugin-none', 2, 'QRT_PLUGIN_UNKNOWN'],
    ['./metrics.mjs', 2, 'Did you mean metric.mjs?'],
    ['./old.mjs', 1, 'contract is 3, this version keeps contract 1'],
    ['./throws.mjs', 1, 'failed while it was imported: not today'],
    ['./text.mjs', 1, 'A plugin of ./text.mjs is a string, expected an object.'],
  ] as const) {
    const found = await querent(['plugin', 'list', '--plugin', plugin], { cwd: folder.path });
    expect([plugin, found.code, found.stdout, found.stderr]).toEqual([plugin, code, '', expect.stringContaining(message)]);
  }
  const verify = await querent(['verify', join(GOLDENS, 'vision-vit'), '--plugin', './throws.mjs'], { cwd: folder.path });
  expect([verify.code, verify.stderr]).toEqual([1, expect.stringContaining('not today')]);
}, PROCESSES_MS);
