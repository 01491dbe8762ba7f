/** Weights in blocks on TensorFlow.js: products and look-ups against float64 loops over the unpacked matrices, on plain JavaScript and WASM. */
import { float32, int64, isQuerentError } from '@querent/core';
import type { Graph, TensorData } from '@querent/core';
import { createGraph, int, op1 } from '@querent/graph';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTfjsEngine } from './engine.ts';

const engines = [await createTfjsEngine({ backend: 'cpu' }), await createTfjsEngine({ backend: 'wasm' })];

const uint8 = (shape: readonly number[], values: readonly number[]): TensorData<'uint8'> => ({ dtype: 'uint8', shape, data: Uint8Array.from(values) });

/** Integers of `bits` side by side in bytes, the earlier low; rows filled up. */
function pack(rows: readonly (readonly number[])[], bits: number): readonly number[] {
  const perByte = 8 / bits;
  return rows.flatMap((row) => {
    const bytes = new Array<number>(Math.ceil(row.length / perByte)).fill(0);
    row.forEach((integer, i) => (bytes[Math.floor(i / perByte)]! |= integer << ((i % perByte) * bits)));
    return bytes;
  });
}

interface Sample {
  readonly bits: number;
  readonly rows: number;
  readonly columns: number;
  readonly blockSize: number;
  readonly hasZeroPoints: boolean;
  readonly seed: number;
}

/** The pieces of a matrix, and the matrix. */
function matrixOf({ bits, rows, columns, blockSize, hasZeroPoints, seed }: Sample): { readonly pieces: Map<string, TensorData>; readonly values: readonly (readonly number[])[] } {
  let state = seed;
  const below = (bound: number): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % bound;
  const blocks = Math.ceil(columns / blockSize);
  const grid = (width: number, f: () => number): number[][] => Array.from({ length: rows }, () => Array.from({ length: width }, f));
  const integers = grid(blocks * blockSize, () => below(2 ** bits));
  const zeros = grid(blocks, () => (hasZeroPoints ? below(2 ** bits) : 2 ** (bits - 1)));
  const scales = grid(blocks, () => Math.fround((below(1000) - 500) / 1000));
  const pieces = new Map<string, TensorData>([
    ['w.blocks', uint8([rows, blocks, (blockSize * bits) / 8], pack(integers, bits))],
    ['w.scales', float32([rows, blocks], scales.flat())],
  ]);
  const packedZeros = pack(zeros, bits);
  if (hasZeroPoints) pieces.set('w.zero_points', uint8([rows, packedZeros.length / rows], packedZeros));
  const values = integers.map((row, r) => row.slice(0, columns).map((integer, c) => (integer - zeros[r]![Math.floor(c / blockSize)]!) * scales[r]![Math.floor(c / blockSize)]!));
  return { pieces, values };
}

function productGraph({ bits, rows, columns, blockSize }: Sample, pieces: ReadonlyMap<string, TensorData>): Graph {
  const g = createGraph('product');
  const x = g.input('x', 'float32', ['batch', 2, columns]);
  const piece = (name: string, dtype: 'uint8' | 'float32'): ReturnType<typeof g.parameter> | null => (pieces.has(name) ? g.parameter(name, pieces.get(name)!.shape, { dtype }) : null);
  const inputs = [x, piece('w.blocks', 'uint8'), piece('w.scales', 'float32'), piece('w.zero_points', 'uint8'), null, g.parameter('bias', [rows])];
  g.output('y', op1('MatMulNBits', inputs, { domain: 'com.microsoft', attributes: { K: int(columns), N: int(rows), bits: int(bits), block_size: int(blockSize) }, outputs: [{ dtype: 'float32', shape: ['batch', 2, rows] }] }));
  return g.graph;
}

const SAMPLES = fc.record({ bits: fc.constantFrom(2, 4, 8), rows: fc.integer({ min: 1, max: 5 }), columns: fc.integer({ min: 1, max: 70 }), blockSize: fc.constantFrom(16, 32), hasZeroPoints: fc.boolean(), seed: fc.integer({ min: 0, max: 1e6 }) });

test('a product with blocks is the product with their matrix, and leaves no tensor behind', async () => {
  await fc.assert(fc.asyncProperty(SAMPLES, async (sample) => {
    const { pieces, values } = matrixOf(sample);
    const bias = Array.from({ length: sample.rows }, (_, i) => i - 1);
    const x = Array.from({ length: 2 * 2 * sample.columns }, (_, i) => Math.fround(Math.sin(i)));
    const expected = Array.from({ length: 4 }, (_, line) => values.map((row, r) => row.reduce((sum, w, c) => sum + w * x[line * sample.columns + c]!, bias[r]!))).flat();
    for (const engine of engines) {
      const before = engine.choice.backend.tf.memory().numTensors;
      {
        await using executable = await engine.compile(productGraph(sample, pieces), new Map([...pieces, ['bias', float32([sample.rows], bias)]]));
        const { y } = await executable.run({ x: float32([2, 2, sample.columns], x) });
        expect(y!.shape).toEqual([2, 2, sample.rows]);
        const scale = Math.max(1, ...expected.map(Math.abs));
        expected.forEach((value, i) => expect(Math.abs(Number(y!.data[i]) - value) / scale).toBeLessThan(1e-5));
      }
      expect(engine.choice.backend.tf.memory().numTensors).toBe(before);
    }
  }), { numRuns: 25 });
});

test.each([4, 8])('a look-up in a table of %i bits gives rows of its matrix', async (bits) => {
  const sample: Sample = { bits, rows: 6, columns: 32, blockSize: 16, hasZeroPoints: true, seed: 5 };
  const { pieces, values } = matrixOf(sample);
  const blocks = pieces.get('w.blocks')!;
  const table = new Map<string, TensorData>([...pieces, ['w.blocks', { ...blocks, shape: [6, blocks.data.length / 6] }]]);
  const g = createGraph('rows');
  const ids = g.input('ids', 'int64', ['n']);
  const parameter = (name: string): ReturnType<typeof g.parameter> => g.parameter(name, table.get(name)!.shape, { dtype: table.get(name)!.dtype });
  const attributes = { gather_axis: int(0), quantize_axis: int(1), block_size: int(16), bits: int(bits) };
  g.output('y', op1('GatherBlockQuantized', [parameter('w.blocks'), ids, parameter('w.scales'), parameter('w.zero_points')], { domain: 'com.microsoft', attributes, outputs: [{ dtype: 'float32', shape: ['n', 32] }] }));
  await using executable = await engines[0]!.compile(g.graph, table);
  const { y } = await executable.run({ ids: int64([3], [5, 0, 2]) });
  const expected = [5, 0, 2].flatMap((row) => values[row]!);
  expected.forEach((value, i) => expect(Number(y!.data[i])).toBeCloseTo(value, 5));
});

test('pieces that are missing or do not fit are refused when the graph is compiled, and so are blocks that are fed', async () => {
  const sample: Sample = { bits: 4, rows: 2, columns: 32, blockSize: 16, hasZeroPoints: true, seed: 1 };
  const { pieces } = matrixOf(sample);
  const all = new Map<string, TensorData>([...pieces, ['bias', float32([2], [0, 0])]]);
  const graph = productGraph(sample, pieces);
  const codeOf = (parameters: ReadonlyMap<string, TensorData>, asInputs: readonly string[] = []): Promise<unknown> =>
    engines[0]!.compile(graph, parameters, { asInputs }).then(() => 'compiled', (error: unknown) => isQuerentError(error) && error.code);
  expect(await codeOf(all)).toBe('compiled');
  expect(await codeOf(new Map([...all].filter(([name]) => name !== 'w.scales')))).toBe('QRT_CHECKPOINT_MISMATCH');
  expect(await codeOf(new Map([...all, ['w.scales', float32([1, 2], [1, 1])]]))).toBe('QRT_CHECKPOINT_MISMATCH');
  expect(await codeOf(new Map([...all, ['w.blocks', float32([2, 2, 8], new Array(32).fill(0))]]))).toBe('QRT_CHECKPOINT_MISMATCH');
  expect(await codeOf(all, ['w.blocks'])).toBe('QRT_ENGINE_COMPILE');
});
