/** The files of examples/: each short, each run as somebody would run it. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { LanguageModelPlugin, TensorData } from '@querent/core';
import { languageModelConformance } from '@querent/core/testing';
import { createGraph } from '@querent/graph';
import { saveModelFolder, trainByteLevelBpe } from '@querent/hub';
import { decodeGraph, prefillGraph } from '@querent/llm-adapters';
import { initialise, randomAt } from '@querent/training';
import { createQuerent, pipeline, readRecipe, train } from 'querent';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PHOTOS, ROOT, querent, temporary } from '../e2e/command-line.ts';

const EXAMPLES = join(ROOT, 'examples');
/** Time for tests that start processes, which take a second each where nothing else runs. */
const PROCESSES_MS = 300_000;
const MINI = join(ROOT, 'models', 'querent-mini');

it('none is longer than 80 lines', async () => {
  for (const file of (await readdir(EXAMPLES)).filter((name) => name.endsWith('.mjs'))) {
    expect([file, (await readFile(join(EXAMPLES, file), 'utf8')).split('\n').length]).toEqual([file, expect.toSatisfy((lines: number) => lines <= 80)]);
  }
});

describe('alt-text.mjs', () => {
  it('fills in what lacks, and leaves the rest of the page alone', async () => {
    await using folder = await temporary();
    await mkdir(join(folder.path, 'site'));
    for (const photo of ['cat.jpg', 'coffee.jpg']) await cp(join(PHOTOS, photo), join(folder.path, 'site', photo));
    const page = '<p>A & B</p>\n<img src="cat.jpg">\n<img class=x src=\'coffee.jpg\' />\n<img src="cat.jpg" alt="">\n<img src="gone.jpg">\n';
    await writeFile(join(folder.path, 'site', 'page.html'), page);
    const words = ['alt-text', 'site/page.html', '--plugin', join(EXAMPLES, 'alt-text.mjs')];
    const { code, stdout, stderr } = await querent(words, { cwd: folder.path });
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^<p>A & B<\/p>\n<img src="cat\.jpg" alt="[^"]+">\n<img class=x src='coffee\.jpg' alt="[^"]+" \/>\n<img src="cat\.jpg" alt="">\n<img src="gone\.jpg">\n$/);
    const help = await querent([...words, '--help'], { cwd: folder.path });
    expect(help.stdout).toMatch(/HTML\.\.\.[^]*--prompt=<TEXT>[^]*How each text begins/);
  }, PROCESSES_MS);

  it('a page that is not there, and a word for no option, are said plainly', async () => {
    const plugin = ['--plugin', join(EXAMPLES, 'alt-text.mjs')];
    const gone = await querent(['alt-text', 'pag.html', ...plugin]);
    expect([gone.code, gone.stderr]).toEqual([1, expect.stringMatching(/^error QRT_FILE[^]*html: pag\.html cannot be read/)]);
    const wrong = await querent(['alt-text', 'page.html', '--promt', 'x', ...plugin]);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('Did you mean --prompt?')]);
    const near = await querent(['alt-txt', 'page.html', ...plugin]);
    expect([near.code, near.stderr]).toEqual([2, expect.stringContaining('Did you mean "alt-text"?')]);
  }, PROCESSES_MS);
});

describe('onnx-encoder.mjs', () => {
  it('captions with the encoder of a file as with the encoder that it was made of', async () => {
    const photo = join(PHOTOS, 'cat.jpg');
    const { stdout } = await promisify(execFile)(process.execPath, [join(EXAMPLES, 'onnx-encoder.mjs'), photo], { cwd: ROOT });
    const querentMini = await createQuerent();
    const model = await querentMini.load(MINI);
    const features = await model.encode([await model.prepare(photo)]);
    for await (const event of model.generate(await model.bridge(features))) if (event.type === 'text') expect(stdout.trim()).toBe(event.text);
    await querentMini.dispose();
  }, PROCESSES_MS);
});

describe('another-llm.mjs', () => {
  const config = {
    model_type: 'olmo', vocab_size: 300, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2,
    tie_word_embeddings: false, clip_qkv: null, bos_token_id: 1, eos_token_id: 2, pad_token_id: 0,
  };
  let olmo: LanguageModelPlugin<typeof config>;
  let folder: Awaited<ReturnType<typeof temporary>>;
  beforeAll(async () => {
    folder = await temporary();
    const module: { default: LanguageModelPlugin<typeof config> } = await import(join(EXAMPLES, 'another-llm.mjs'));
    olmo = module.default;
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  it('thinks token by token what it thinks of the whole text', async () => {
    await using root = await createQuerent({ inPlace: true, threads: 1 });
    for (const check of languageModelConformance(olmo, { engine: await root.engine(), createGraph, config })) await check.run();
  });

  it('learns to be spoken to by the Q-Former of querent-mini-retrieval, and captions', async () => {
    const captions = { 'cat.jpg': 'a cat looks up', 'coffee.jpg': 'a cup of coffee', 'rocket.jpg': 'a rocket lifts off', 'raccoon.jpg': 'a raccoon in the grass' };
    const graph = prefillGraph(olmo, config);
    const weights: Map<string, TensorData> = initialise(graph, [...graph.parameters.keys()], randomAt(3, 0, 1));
    for (const name of decodeGraph(olmo, config).parameters.keys()) expect(weights.has(name)).toBe(true);
    const tokenizer = trainByteLevelBpe(Object.values(captions), { vocabSize: 300, specialTokens: ['<pad>', '<s>', '</s>'], lowercase: true, minFrequency: 1, template: '<s> $A' });
    await saveModelFolder(join(folder.path, 'olmo'), { config, parameters: weights, tokenizer });
    const images = Object.entries(captions).map(([filename, raw]) => ({ filename, split: 'train', sentences: [{ raw }] }));
    await writeFile(join(folder.path, 'captions.json'), JSON.stringify({ images }));
    await cp(PHOTOS, join(folder.path, 'photos'), { recursive: true });
    const recipe = {
      kind: 'stage2', encoder: join(ROOT, 'models', 'efficientnet-lite0'), init: join(ROOT, 'models', 'querent-mini-retrieval'), language_model: './olmo',
      images: 'photos', annotations: { file: 'captions.json', splits: ['train'] }, views: { count: 1, seed: 1, scale: [0.5, 1] }, maxTokens: 16, vision_layer_norm: true,
      seed: 1, batch: 2, epochs: 2, schedule: { type: 'constant', peak: 1e-3 }, optimiser: { betas: [0.9, 0.98], epsilon: 1e-8, weightDecay: 0.05 },
    };
    await writeFile(join(folder.path, 'recipe.json'), JSON.stringify(recipe));
    await readRecipe(join(folder.path, 'recipe.json'));
    await using root = await createQuerent({ plugins: [join(EXAMPLES, 'another-llm.mjs')], threads: 1 });
    let saved = '';
    for await (const event of train(root, join(folder.path, 'recipe.json'), { data: folder.path, out: join(folder.path, 'run'), cache: join(folder.path, 'cache') })) if (event.type === 'saved') saved = event.path;
    await using caption = await pipeline('caption', { model: await root.load(saved) });
    expect(typeof (await caption(join(PHOTOS, 'cat.jpg'))).text).toBe('string');
  });
});
