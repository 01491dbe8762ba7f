import type { GraphScope, ParameterData, Tensor, TensorData } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { createGraph, linear, relu, reshape } from '@querent/graph';
import { quantiseColumns, quantiseMatrix } from '@querent/hub';
import { afterAll, describe, expect, test } from 'vitest';
import type { Calibration, Product } from './encoder-calibration.ts';
import { calibrateEncoder, cosine, fewest } from './encoder-calibration.ts';
import { largestInteger } from './integer-range.ts';
import { PIECES } from './precision-graph.ts';
import { blockForm } from './precision.ts';

const engine = createOnnxEngine({ threads: 1 });
afterAll(() => engine[Symbol.asyncDispose]());

const WIDTH = 128;
const NAMES = ['first', 'second', 'third'] as const;

function drawn(seed: number, size: number, scale = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return scale * (state / 2 ** 31 - 1);
  });
}

/** Three products over pixels; what goes into the second holds values a thousand times as large as the others, which its weights do not read. */
async function calibrated(spiked: 'first block' | 'every block' | undefined, bar = 0.999): Promise<Calibration> {
  const largest = await largestInteger(engine);
  const available = new Map<string, ParameterData>();
  const [integers, blocks] = [new Map<string, ParameterData>(), new Map<string, ParameterData>()];
  const products: Product[] = [];
  NAMES.forEach((name, at) => {
    const weight = drawn(at + 1, WIDTH * WIDTH, 0.15);
    const bias = new Float32Array(WIDTH);
    if (at === 0 && spiked !== undefined) for (let i = 0; i < (spiked === 'every block' ? WIDTH : 1); i += 32) bias[i] = 1000;
    if (at === 1) for (let i = 0; i < WIDTH; i++) if (i % 32 === 0 || (spiked === 'first block' && i < 32)) for (let row = 0; row < WIDTH; row++) weight[row * WIDTH + i] = 0;
    available.set(`${name}.weight`, { dtype: 'float32', shape: [WIDTH, WIDTH], data: weight });
    available.set(`${name}.bias`, { dtype: 'float32', shape: [WIDTH], data: bias });
    const key = `${name}.weight`;
    const columns = quantiseColumns(weight, WIDTH, WIDTH, { largest });
    integers.set(key + PIECES.integers, { dtype: 'int8', shape: [WIDTH, WIDTH], data: columns.data });
    integers.set(key + PIECES.columnScales, { dtype: 'float32', shape: [WIDTH], data: columns.scales });
    const matrix = quantiseMatrix(weight, WIDTH, WIDTH, { bits: 8 });
    blocks.set(key + PIECES.blocks, { dtype: 'uint8', shape: [WIDTH, WIDTH / 32, 32], data: matrix.data });
    blocks.set(key + PIECES.scales, { dtype: 'float32', shape: [WIDTH, WIDTH / 32], data: matrix.scales });
    products.push({ name: key, integers: { kind: 'integers', rows: WIDTH, columns: WIDTH }, blocks: blockForm(8, WIDTH, WIDTH) });
  });
  const graph = (name: string, input: string, build: (g: GraphScope, x: Tensor) => Tensor): GraphScope => {
    const g = createGraph(name);
    const shape = input === 'features' ? ['batch', 'patches', WIDTH] : ['batch', 2, WIDTH];
    g.output(input === 'features' ? 'queries' : 'features', build(g, g.input(input, 'float32', shape)));
    return g;
  };
  const encoder = graph('encoder', 'pixel_values', (g, x) => NAMES.reduce((y, name, i) => (i === 2 ? linear(g.scope(name), y, WIDTH) : relu(linear(g.scope(name), y, WIDTH))), x));
  const bridge = graph('bridge', 'features', (_, x) => reshape(x, ['batch', 'patches', WIDTH]));
  const pixels = [11, 12, 13].map((seed): TensorData<'float32'> => ({ dtype: 'float32', shape: [2, WIDTH], data: drawn(seed, 2 * WIDTH) }));
  return calibrateEncoder({ engine, encoder: encoder.graph, bridge: bridge.graph, products, available, pieces: { integers: async () => integers, blocks: async () => blocks }, pixels, bar });
}

describe('a calibration', () => {
  test('takes integers everywhere where the queries stay', async () => {
    const { forms, cosine: reached, cosineOfIntegers } = await calibrated(undefined);
    expect([...forms.values()]).toEqual(['integers', 'integers', 'integers']);
    expect(reached).toBe(cosineOfIntegers);
    expect(reached).toBeGreaterThan(0.999);
    expect(reached).toBeLessThan(1);
  });

  test('gives blocks to the one product whose input has a few huge values, and integers to the others', async () => {
    const { forms, cosine: reached, cosineOfIntegers } = await calibrated('first block');
    expect(cosineOfIntegers).toBeLessThan(0.999);
    expect([...forms.values()]).toEqual(['integers', 'blocks', 'integers']);
    expect(reached).toBeGreaterThanOrEqual(0.999);
  });

  test('leaves a product as the file has it where every block holds such a value', async () => {
    const { forms, cosine: reached } = await calibrated('every block');
    expect([...forms.values()]).toEqual(['integers', 'stored', 'integers']);
    expect(reached).toBeGreaterThanOrEqual(0.999);
  });

  test('leaves everything where nothing is good enough', async () => {
    const { forms, cosine: reached } = await calibrated(undefined, 1);
    expect([...forms.values()]).toEqual(['stored', 'stored', 'stored']);
    expect(reached).toBeCloseTo(1, 6);
  });
});

test('halving finds the least count that holds, or none', async () => {
  for (const most of [1, 2, 3, 7, 156]) {
    for (let least = 1; least <= most; least += most > 10 ? 13 : 1) {
      let asked = 0;
      expect(await fewest(most, async (count) => (asked++, count >= least))).toBe(least);
      expect(asked).toBeLessThanOrEqual(Math.ceil(Math.log2(most)) + 1);
    }
    expect(await fewest(most, async () => false)).toBeUndefined();
  }
});

test('a cosine is of directions; zeros are alike', () => {
  expect(cosine(Float32Array.of(1, 2), Float32Array.of(2, 4))).toBeCloseTo(1, 12);
  expect(cosine(Float32Array.of(1, 0), Float32Array.of(0, 1))).toBe(0);
  expect(cosine(new Float32Array(2), new Float32Array(2))).toBe(1);
  expect(cosine(new Float32Array(2), Float32Array.of(1, 0))).toBe(0);
  expect(cosine(Float32Array.of(1), Float32Array.of(NaN))).toBeNaN();
});
