/** `querent run` as a process: sinks, exit codes, mistakes at their pointer, killed and run again. */
import { cp, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { PHOTOS, querent, temporary, tinyModel } from './command-line.ts';

const lines = (text: string): Record<string, unknown>[] => text.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);

it('runs a document to a file and to standard output, tells bad files, and goes on after an interrupt', { timeout: 300_000 }, async () => {
  await using folder = await temporary();
  const model = await tinyModel(folder.path);
  const photos = join(folder.path, 'photos');
  await cp(PHOTOS, photos, { recursive: true });
  await writeFile(join(photos, 'broken.jpg'), 'not a photograph');
  const names = (await readdir(photos)).filter((name) => name.endsWith('.jpg')).toSorted();
  const write = async (name: string, rest: object): Promise<string> => {
    const file = join(folder.path, name);
    await writeFile(file, JSON.stringify({ model: 'tiny-model', source: { folder: 'photos', glob: '*.jpg' }, stages: [{ task: 'caption', maxNewTokens: 4 }], ...rest }));
    return file;
  };
  expect(model).toBe(join(folder.path, 'tiny-model'));

  const toFile = await write('file.json', { sink: { jsonl: 'captions.jsonl' } });
  const first = await querent(['run', toFile, '--json', '--metrics']);
  expect(first.code).toBe(1);
  expect(first.stderr).toMatch(/broken\.jpg.*QRT_IMAGE[\s\S]*stage\s+items\s+failed/);
  expect(lines(first.stdout)).toMatchObject([{ done: names.length, failed: 1, file: 'captions.jsonl', stages: [{ name: 'caption', done: names.length, failed: 1 }] }]);
  const written = lines(await readFile(join(folder.path, 'captions.jsonl'), 'utf8'));
  expect(written.map(({ image }) => image)).toEqual(names.map((name) => join('photos', name)));

  const toOut = await write('out.json', {});
  const second = await querent(['run', toOut]);
  expect(second.code).toBe(1);
  expect(lines(second.stdout)).toEqual(written);
  const array = await querent(['run', await write('array.json', { sink: { stdout: 'json' } })]);
  expect(JSON.parse(array.stdout)).toEqual(written);

  const wrong = await querent(['run', await write('wrong.json', { stages: [{ task: 'caption', numBeam: 4 }] })]);
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toMatch(/QRT_CONFIG_INVALID[\s\S]*\/stages\/0\/numBeam/);
  const missing = await querent(['run', await write('missing.json', { model: 'no/such/model' })]);
  expect(missing.code).toBe(2);
  expect(missing.stderr).toContain('/model');
  expect((await querent(['run'])).code).toBe(2);
});
