/** A model whose encoder is an `.onnx` file: the tower of a fixture, written out as another tool would have. */
import { cp, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TensorData } from '@querent/core';
import { evaPlugin } from '@querent/encoders';
import type { EvaConfig } from '@querent/encoders';
import { createGraph, writeOnnx } from '@querent/graph';
import { loadTensors, readSafetensors } from '@querent/hub';
import { unstack } from '@querent/tasks';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GOLDENS } from '../test/tiny-models.ts';
import { createQuerent } from './index.ts';
import { inspectModel } from './inspect.ts';

const FIXTURE = 'blip2-opt';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-onnx-'));
  await cp(join(GOLDENS, FIXTURE), join(root, 'model'), { recursive: true });
  const document = JSON.parse(await readFile(join(root, 'model', 'config.json'), 'utf8')) as { vision_config: EvaConfig }; // our own fixture
  const config = { ...evaPlugin.defaults, ...document.vision_config };
  const weights = await tensors('model');
  const g = createGraph('tower');
  const pixels = g.input('image', 'float32', ['N', 3, config.image_size, config.image_size]);
  g.output('features', evaPlugin.build(g, pixels, config).lastHiddenState);
  // Names that the checkpoint does not have, so that only the file can have given them.
  const parameters = new Map([...g.graph.parameters.keys()].map((name) => [name, weights.get(`vision_model.${name}`)!]));
  await writeFile(join(root, 'model', 'tower.onnx'), renamed(writeOnnx(g.graph, { parameters })));
  const vision = { model_type: 'onnx', file: 'tower.onnx', hidden_size: config.hidden_size, preprocessing: evaPlugin.preprocess(config) };
  await writeFile(join(root, 'model', 'config.json'), JSON.stringify({ ...document, vision_config: vision }));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const tensors = async (file: string): Promise<Map<string, TensorData>> => loadTensors((await readSafetensors(join(GOLDENS, FIXTURE, `${file}.safetensors`))).tensors);

/** Every `embeddings` and `encoder` as another word of the same length. */
function renamed(bytes: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(bytes).toString('latin1').replaceAll('embeddings.', 'embeddonnx.').replaceAll('encoder.layers', 'encoder.onnxes'), 'latin1');
}

test('a model with its encoder in an .onnx file gives the features of transformers, with the weights of that file', async () => {
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  const model = await querent.load(join(root, 'model'));
  const [inputs, expected] = [await tensors('inputs'), await tensors('expected')];
  const features = await model.encode(unstack(inputs.get('pixel_values') as TensorData<'float32'>)); // the fixture is float32
  const wanted = expected.get('vision_last_hidden_state')!;
  expect(features.shape).toEqual(wanted.shape);
  features.data.forEach((value, i) => expect(Math.abs(value - Number(wanted.data[i]))).toBeLessThan(1e-4));
});

test('its weights are counted before anything is loaded, and none is missing', async () => {
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  const report = await inspectModel(join(root, 'model'), { registry: querent.registry });
  expect(report.missing).toEqual([]);
  expect(report.parts[0]).toMatchObject({ part: 'image encoder', family: 'onnx' });
});

test('a folder that is an .onnx file and its config is opened by itself, and as a part that comes from there', async () => {
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  const [whole, tower, other] = ['model', 'tower', 'other'].map((name) => join(root, name)) as [string, string, string]; // three names
  const { vision_config, ...rest } = JSON.parse(await readFile(join(whole, 'config.json'), 'utf8')) as Record<string, object>; // written above
  await cp(join(whole, 'tower.onnx'), join(tower, 'tower.onnx'));
  await writeFile(join(tower, 'config.json'), JSON.stringify(vision_config));
  const report = await inspectModel(tower, { registry: querent.registry });
  expect(report.missing).toEqual([]);
  expect(report.parts).toMatchObject([{ part: 'image encoder', family: 'onnx' }]);
  await cp(whole, other, { recursive: true, filter: (path) => !path.endsWith('.onnx') });
  await writeFile(join(other, 'config.json'), JSON.stringify({ ...rest, vision_config: { from: '../tower' } }));
  expect((await inspectModel(other, { registry: querent.registry })).parts[0]).toMatchObject({ family: 'onnx', parameters: report.parts[0]?.parameters });
});

test('a file that is cut short is refused with a code', async () => {
  await cp(join(root, 'model'), join(root, 'cut'), { recursive: true });
  await truncate(join(root, 'cut', 'tower.onnx'), 9000);
  await using querent = await createQuerent({ inPlace: true, threads: 1 });
  await expect(querent.load(join(root, 'cut'))).rejects.toMatchObject({ code: 'QRT_GRAPH_FORMAT' });
});
