import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EncoderConfig, Tensor } from '@querent/core';
import { findMistakes, float32, isQuerentError, validate } from '@querent/core';
import { conv2d, createGraph, globalAveragePool, interpret, linear, op1, relu, reshape, transpose, writeOnnx } from '@querent/graph';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OnnxEncoderConfig } from './onnx-file.ts';
import onnxPlugin, { openOnnxEncoder } from './onnx-file.ts';
import { BILINEAR, squash } from './preprocess.ts';

const SIZE = 8;
const FEATURES = 6;

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-onnx-encoder-'));
  await writeFile(join(folder, 'map.onnx'), mapModel());
  await writeFile(join(folder, 'tokens.onnx'), mapModel({ asTokens: true }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface ModelOptions {
  readonly asTokens?: boolean;
  readonly batch?: number;
  readonly change?: (x: Tensor) => Tensor;
}

const values = (shape: readonly number[], seed: number): Float32Array => Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 1.3 + seed));
const weights = (graph: ReturnType<typeof createGraph>['graph']): Map<string, ReturnType<typeof float32>> =>
  new Map([...graph.parameters.values()].map(({ name, shape }, n) => [name, float32(shape, values(shape, n))]));

/** A convolution and its pooled vector, as other tools would have written it. */
function mapModel({ asTokens = false, batch, change = (x) => x }: ModelOptions = {}): Uint8Array {
  const g = createGraph('somebody');
  const pixels = g.input('image', 'float32', [batch ?? 'N', 3, SIZE, SIZE]);
  const map = change(relu(conv2d(g.scope('stem'), pixels, FEATURES, { kernel: 4, stride: 2, padding: 1 }))); // [N, features, 4, 4]
  g.output('features', asTokens ? transpose(reshape(map, [map.shape[0]!, FEATURES, 16]), [0, 2, 1]) : map);
  g.output('vector', linear(g.scope('head'), reshape(globalAveragePool(map), [map.shape[0]!, FEATURES]), 5));
  return writeOnnx(g.graph, { parameters: weights(g.graph) });
}

const config = (changes: Partial<OnnxEncoderConfig> = {}): OnnxEncoderConfig => ({
  model_type: 'onnx',
  file: 'map.onnx',
  hidden_size: FEATURES,
  preprocessing: squash(SIZE, BILINEAR, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
  ...changes,
});

const open = (changes: Partial<OnnxEncoderConfig> = {}): ReturnType<typeof openOnnxEncoder> => openOnnxEncoder(config(changes), folder);

describe('a file as an encoder', () => {
  it.each(['map.onnx', 'tokens.onnx'])('%s gives patches in reading order, and the pooled vector that is asked for', async (file) => {
    const { encoder, parameters } = await open({ file, pooled_output: 'vector' });
    const g = createGraph('whole');
    const built = encoder.build(g.scope('vision_model'), g.input('pixel_values', 'float32', ['batch', 3, SIZE, SIZE]), config({ file, pooled_output: 'vector' }), { pooled: true });
    expect(built.lastHiddenState.shape).toEqual(['batch', encoder.patches(config()), FEATURES]);
    expect(built.pooled?.shape).toEqual(['batch', 5]);
    g.output('features', built.lastHiddenState);
    g.output('vector', built.pooled!);
    expect([...g.graph.parameters.keys()].sort()).toEqual([...parameters.keys()].map((name) => `vision_model.${name}`).sort());

    const pixels = float32([2, 3, SIZE, SIZE], values([2, 3, SIZE, SIZE], 9));
    const named = new Map([...parameters].map(([name, data]) => [`vision_model.${name}`, data]));
    const found = interpret(g.graph, { pixel_values: pixels }, named);
    const reference = createGraph('reference');
    const stem = relu(conv2d(reference.scope('stem'), reference.input('image', 'float32', ['batch', 3, SIZE, SIZE]), FEATURES, { kernel: 4, stride: 2, padding: 1 }));
    reference.output('map', stem);
    const map = interpret(reference.graph, { image: pixels }, weights(reference.graph)).get('map')!;
    const patches = found.get('features')!;
    for (let n = 0; n < 2; n++) for (let c = 0; c < FEATURES; c++) for (let p = 0; p < 16; p++) {
      expect(patches.data[(n * 16 + p) * FEATURES + c]).toBeCloseTo(Number(map.data[(n * FEATURES + c) * 16 + p]), 5);
    }
  });

  it('takes a vector for one patch', async () => {
    const { encoder } = await open({ output: 'vector', hidden_size: 5 });
    expect(encoder.patches(config())).toBe(1);
  });

  it('reads only the weights that its output needs', async () => {
    expect([...(await open()).parameters.keys()].sort()).toEqual(['stem.bias', 'stem.weight']);
  });

  it('reads reductions as opset 17 writes them: axes as an attribute', async () => {
    const change = (x: Tensor): Tensor => {
      const mean = op1('ReduceMean', [x], { attributes: { axes: { type: 'ints', value: [1] }, keepdims: { type: 'int', value: 1 } } });
      return op1('Sub', [x, mean]);
    };
    await writeFile(join(folder, 'old.onnx'), mapModel({ change }));
    const { encoder } = await open({ file: 'old.onnx' });
    const g = createGraph('whole');
    encoder.build(g, g.input('pixel_values', 'float32', ['batch', 3, SIZE, SIZE]), config());
    const mean = g.graph.nodes.find(({ opType }) => opType === 'ReduceMean');
    expect(mean?.inputs).toHaveLength(2);
    expect(mean?.attributes['axes']).toBeUndefined();
  });
});

describe('what does not fit', () => {
  const refused = async (file: string, bytes: Uint8Array, changes: Partial<OnnxEncoderConfig> = {}): Promise<unknown> => {
    await writeFile(join(folder, file), bytes);
    return open({ file, ...changes });
  };

  it('refuses another width, output, input or size with what is there', async () => {
    await expect(open({ hidden_size: 7 })).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('[batch, 16, 6]') });
    await expect(open({ output: 'logits' })).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('features, vector') });
    await expect(open({ input: 'x' })).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('image') });
    await expect(open({ preprocessing: squash(16, BILINEAR, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]) })).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('[N, 3, 8, 8]') });
    await expect(refused('one.onnx', mapModel({ batch: 1 }))).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', fix: expect.stringContaining('dynamic batch') });
  });

  it('refuses opsets and vendors that are not read', async () => {
    const bytes = mapModel();
    // opset_import (field 8): its version is field 2, with or without an empty domain before it
    const at = bytes.findIndex((byte, i) => byte === 24 && bytes[i - 1] === 0x10 && (bytes[i - 3] === 0x42 || bytes[i - 5] === 0x42));
    const old = bytes.slice();
    old[at] = 11;
    await expect(refused('opset11.onnx', old)).rejects.toMatchObject({ code: 'QRT_MODEL_UNSUPPORTED', message: expect.stringContaining('opset 11') });
    const vendor = mapModel({ change: (x) => op1('Special', [x], { domain: 'com.somebody', outputs: [{ dtype: 'float32', shape: x.shape }] }) });
    await expect(refused('vendor.onnx', vendor)).rejects.toMatchObject({ code: 'QRT_MODEL_UNSUPPORTED', message: expect.stringContaining('com.somebody.Special') });
  });

  it('reads no file outside the folder', async () => {
    for (const file of ['../map.onnx', '/etc/hostname', 'a/../../x', 'x\0']) await expect(open({ file }), file).rejects.toSatisfy((error) => isQuerentError(error) && ['QRT_CONFIG_INVALID', 'QRT_FILE'].includes(error.code));
    await symlink('/etc/hostname', join(folder, 'link.onnx'));
    await expect(open({ file: 'link.onnx' })).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID' });
    await expect(open({ file: 'none.onnx' })).rejects.toMatchObject({ code: 'QRT_FILE' });
    await expect(open({ file: '.' })).rejects.toMatchObject({ code: 'QRT_FILE' });
  });

  it('never crashes on a damaged file', async () => {
    const whole = mapModel();
    const file = join(folder, 'damaged.onnx');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), fc.nat(whole.length), async (changes, cut) => {
        const bytes = whole.slice(0, changes.length > 2 ? cut : whole.length);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        await writeFile(file, bytes);
        const error = await open({ file: 'damaged.onnx' }).then(() => undefined, (thrown: unknown) => thrown);
        expect(error === undefined || isQuerentError(error), String(error)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it('asks to be opened before it is built, and for a whole config', () => {
    const g = createGraph('early');
    const pixels = g.input('pixel_values', 'float32', ['batch', 3, SIZE, SIZE]);
    expect(() => onnxPlugin.build(g, pixels, config())).toThrow(/before its file was read/);
    expect(validate<EncoderConfig>(onnxPlugin.configSchema, config())).toMatchObject({ model_type: 'onnx' });
    expect(findMistakes(onnxPlugin.configSchema, { model_type: 'onnx', file: 'x.onnx' })).toHaveLength(2);
  });
});
