/** `querent index`, `search`, `curate` and `evaluate vqa|nocaps` as people run them, with the models that ship. */
import { spawn } from 'node:child_process';
import { cp, mkdir, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { encodePng } from '@querent/images';
import { expect, it } from 'vitest';
import { BIN, PHOTOS, ROOT, querent, temporary } from './command-line.ts';

const lines = (text: string): Record<string, unknown>[] => text.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);

/** Starts the command and kills it for good as soon as `isTime` says so; true when it was killed before its end. */
function killed(words: readonly string[], isTime: () => boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [BIN, ...words], { cwd: ROOT, stdio: 'ignore' });
    const timer = setInterval(() => isTime() && child.kill('SIGKILL'), 5);
    child.on('close', (_, signal) => {
      clearInterval(timer);
      resolve(signal === 'SIGKILL');
    });
  });
}

it('indexes a folder, takes only what is new or changed, forgets what is gone, and finds by sentence and by photograph', { timeout: 900_000 }, async () => {
  await using folder = await temporary();
  const photos = join(folder.path, 'photos');
  const index = join(folder.path, 'photos.index');
  await cp(PHOTOS, photos, { recursive: true });
  await writeFile(join(photos, 'notes.txt'), 'not a photograph');
  await writeFile(join(photos, 'broken.jpg'), 'not a photograph either');
  const count = (await readdir(photos)).filter((name) => name.endsWith('.jpg')).length;

  const first = await querent(['index', photos, '--out', index, '--json']);
  expect(first.code).toBe(1);
  expect(lines(first.stdout)).toMatchObject([{ image: 'photos/broken.jpg', error: { code: 'QRT_IMAGE' } }, { added: count - 1, unchanged: 0, failed: 1, size: count - 1 }]);

  await rm(join(photos, 'broken.jpg'));
  await rm(join(photos, 'coffee.jpg'));
  await utimes(join(photos, 'rocket.jpg'), new Date(0), new Date(0));
  const second = await querent(['index', photos, '--out', index, '--json']);
  expect(second).toMatchObject({ code: 0, stderr: '' });
  expect(lines(second.stdout)).toEqual([{ added: 1, unchanged: count - 3, failed: 0, removed: 1, size: count - 2 }]);

  const text = await querent(['search', index, 'a cat looks at the camera', '--top', '3', '--json']);
  expect(text).toMatchObject({ code: 0, stderr: '' });
  const hits = lines(text.stdout);
  expect(hits).toHaveLength(3);
  // The score is log-odds + cosine / temperature, and the temperature the same for all.
  const temperatures = hits.map(({ score, similarity, logit }) => Number(similarity) / (Number(score) - Number(logit)));
  expect(temperatures[0]).toBeGreaterThan(0.01);
  expect(temperatures[0]).toBeLessThan(0.2);
  for (const temperature of temperatures) expect(temperature).toBeCloseTo(temperatures[0]!, 4);
  expect(hits.map(({ score }) => score)).toEqual(hits.map(({ score }) => score).toSorted((a, b) => Number(b) - Number(a)));

  const like = await querent(['search', index, '--image', join(PHOTOS, 'rocket.jpg'), '--top', '1', '--json']);
  expect(lines(like.stdout)).toMatchObject([{ image: join(photos, 'rocket.jpg') }]);
  expect((await querent(['search', index])).code).toBe(2);
  expect((await querent(['search', join(folder.path, 'nowhere'), 'x'])).stderr).toContain('QRT_STORE');
});

it('curates JSONL: bad rows fail alone; killed and run again it writes what it would have written; then WebDataset and annotations', { timeout: 900_000 }, async () => {
  await using folder = await temporary();
  const names = (await readdir(PHOTOS)).filter((name) => name.endsWith('.jpg')).slice(0, 4);
  const pairs = join(folder.path, 'pairs.jsonl');
  await mkdir(join(folder.path, 'p'));
  for (const name of names) await cp(join(PHOTOS, name), join(folder.path, 'p', name));
  const rows = [...names.map((name) => JSON.stringify({ image: `p/${name}`, caption: `IMG_0001 ${name}`, url: 'kept' })), 'nonsense', '{"image":"p/none.jpg","caption":"x"}'];
  await writeFile(pairs, `${rows.join('\n')}\n`);
  const how = ['--captions', '3', '--keep', '2', '--max-new-tokens', '8', '--json'];

  const whole = await querent(['curate', pairs, '--out', join(folder.path, 'whole.jsonl'), ...how]);
  expect(whole.code).toBe(1);
  const said = lines(whole.stdout);
  expect(said).toMatchObject([{ row: 4, error: { code: 'QRT_DATASET' } }, { row: 5, error: { code: 'QRT_IMAGE' } }, { rows: 6, failed: 2, kept: 8 }]);
  const curated = lines(await readFile(join(folder.path, 'whole.jsonl'), 'utf8'));
  expect(curated.map(({ image, url }) => [image, url])).toEqual(names.map((name) => [`p/${name}`, 'kept']));
  for (const { captions, scores, sources } of curated) {
    expect([captions, scores, sources].map((list) => (list as unknown[]).length)).toEqual([2, 2, 2]);
    expect((scores as number[])[0]).toBeGreaterThanOrEqual((scores as number[])[1]!);
  }

  const out = join(folder.path, 'again.jsonl');
  await killed(['curate', pairs, '--out', out, ...how], () => existsSync(`${out}.part`));
  const again = await querent(['curate', pairs, '--out', out, ...how]);
  expect(again.code).toBe(1);
  expect(await readFile(out, 'utf8')).toBe(await readFile(join(folder.path, 'whole.jsonl'), 'utf8'));
  expect((await readdir(folder.path)).filter((name) => name.includes('.part') || name.includes('progress'))).toEqual([]);

  const shard = join(folder.path, 'clean.tar');
  expect((await querent(['curate', join(folder.path, 'whole.jsonl'), '--out', shard, '--captions', '0', '--keep', '1', '--json'])).code).toBe(0);
  const annotations = join(folder.path, 'clean.json');
  const back = await querent(['curate', '--in', shard, '--out', annotations, '--captions', '0', '--keep', '1', '--json']);
  expect(lines(back.stdout)).toEqual([{ rows: 4, failed: 0, kept: 4, web: 4, synthetic: 0 }]);
  const { images } = JSON.parse(await readFile(annotations, 'utf8')) as { images: { filename: string; sentences: { raw: string }[] }[] };
  expect(images.map(({ sentences }) => sentences.map(({ raw }) => raw))).toEqual(curated.map(({ captions }) => [(captions as string[])[0]]));
});

it('evaluates answers, written and chosen, and NoCaps by domain', { timeout: 900_000 }, async () => {
  await using folder = await temporary();
  const questions = join(folder.path, 'questions.json');
  await writeFile(questions, JSON.stringify([{ image: 'cat.jpg', question: 'what is it?', answer: 'cat' }, { image: 'rocket.jpg', question: 'what is it?', answers: Array.from({ length: 10 }, () => 'rocket') }]));
  const words = ['evaluate', 'vqa', '--model', 'models/querent-mini', '--images', PHOTOS, '--questions', questions, '--json'];
  const free = await querent(words);
  expect(free).toMatchObject({ code: 0, stderr: '' });
  expect(Object.keys(JSON.parse(free.stdout) as object)).toEqual(['accuracy', 'perAnswerType', 'perQuestionType', 'questions', 'questionsPerSecond']);
  await writeFile(join(folder.path, 'answers.txt'), 'rocket\ncat\n');
  const chosen = JSON.parse((await querent([...words, '--candidates', join(folder.path, 'answers.txt')])).stdout) as { accuracy: number };
  expect([0, 50, 100]).toContain(chosen.accuracy);

  const nocaps = join(folder.path, 'nocaps.json');
  await writeFile(nocaps, JSON.stringify({ images: [{ id: 1, file_name: 'cat.jpg', domain: 'in-domain' }, { id: 2, file_name: 'rocket.jpg', domain: 'out-domain' }], annotations: [{ image_id: 1, caption: 'a cat' }, { image_id: 2, caption: 'a rocket' }] }));
  const figures = await querent(['evaluate', 'nocaps', '--model', 'models/querent-mini', '--images', PHOTOS, '--annotations', nocaps, '--json']);
  expect(Object.keys(JSON.parse(figures.stdout) as object)).toEqual(['in-domain', 'out-domain', 'overall', 'imagesPerSecond']);
});

it('asks the questions of a sheet of tiles, and those that a recipe held out', { timeout: 900_000 }, async () => {
  await using folder = await temporary();
  const [tile, columns] = [16, 4];
  const sheet = Buffer.from(await encodePng({ width: columns * tile, height: columns * tile, data: new Uint8Array(columns * tile * columns * tile * 3).fill(200) }));
  await writeFile(join(folder.path, 'images.png'), sheet);
  const questions = Array.from({ length: columns * columns }, (_, i) => [i, 'what shape is it?', 'circle']);
  await writeFile(join(folder.path, 'questions.json'), JSON.stringify({ sheet: 'images.png', columns, tile, questions }));
  const evaluate = ['evaluate', 'vqa', '--model', 'models/querent-mini', '--cache', join(folder.path, 'cache'), '--json'];
  const all = await querent([...evaluate, '--questions', join(folder.path, 'questions.json')]);
  expect(all).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(all.stdout)).toMatchObject({ questions: 16 });

  const recipe = join(folder.path, 'recipe.json');
  const document = JSON.parse(await readFile('recipes/mini-easy-vqa.json', 'utf8')) as object;
  await writeFile(recipe, JSON.stringify({ ...document, questions: { format: 'easy-vqa', file: 'questions.json', heldOut: 0.5 } }));
  const held = await querent([...evaluate, '--recipe', recipe, '--data', folder.path]);
  expect(held).toMatchObject({ code: 0, stderr: '' });
  const { questions: count } = JSON.parse(held.stdout) as { questions: number };
  expect(count).toBeGreaterThan(0);
  expect(count).toBeLessThan(16);

  const both = await querent([...evaluate, '--recipe', recipe, '--questions', join(folder.path, 'questions.json')]);
  expect(both.code).toBe(2);
  const captions = await querent([...evaluate, '--recipe', 'recipes/mini-stage2.json']);
  expect(captions).toMatchObject({ code: 2 });
  expect(captions.stderr).toContain('kind stage2');
});
