import { float32, isQuerentError } from '@querent/core';
import type { ParameterData } from '@querent/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { runOnnx } from '../../test/onnxruntime.ts';
import { createGraph } from '../graph.ts';
import { layerNorm, linear } from '../layers.ts';
import { mul } from '../ops/elementwise.ts';
import { op, float, int, ints, text } from '../ops/op.ts';
import { concat, reshape, slice } from '../ops/shaping.ts';
import { grad } from '../autodiff/grad.ts';
import { reduceSum } from '../ops/reductions.ts';
import { decodeModel } from './decode.ts';
import { encodeModel } from './encode.ts';
import { readOnnx } from './read.ts';
import { writeOnnx } from './write.ts';

function network() {
  const g = createGraph('network');
  const x = g.input('pixel_values', 'float32', ['batch', 'tokens', 3]);
  const hidden = layerNorm(g.scope('norm'), x, 1e-5);
  const y = linear(g.scope('head'), concat([hidden, x], 2), 2);
  g.output('y', y);
  g.output('mean', reshape(mul(slice(y, 1, 0, 1), 2), [-1, 2]));
  return g;
}

const WEIGHTS = new Map<string, ParameterData>([
  ['norm.weight', { dtype: 'float16', shape: [3], data: Uint16Array.of(0x3c00, 0x4000, 0x4200) }],
  ['norm.bias', float32([3], [0, 0, 1])],
  ['head.weight', float32([2, 6], [1, 0, 0, 0, 1, -1, 2, 3, 0, 1, 0, 1])],
  ['head.bias', float32([2], [0.5, -0.5])],
]);
const X = float32([1, 2, 3], [1, 2, 3, -1, 0, 4]);

test('what was written is read: inputs, outputs, parameters, dtypes and symbolic shapes', async () => {
  const bytes = writeOnnx(network().graph, { parameters: WEIGHTS });
  const { graph, parameters } = readOnnx(bytes);
  expect(graph.inputs.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual([
    { name: 'pixel_values', dtype: 'float32', shape: ['batch', 'tokens', 3] },
  ]);
  expect([...graph.outputs].map(([name, { shape }]) => [name, shape])).toEqual([['y', ['batch', 'tokens', 2]], ['mean', ['batch', 2]]]);
  expect([...graph.parameters.values()].map(({ name, dtype }) => [name, dtype])).toEqual([...WEIGHTS.keys()].map((name) => [name, 'float32']));
  expect(parameters).toEqual(WEIGHTS);
  expect(await runOnnx(writeOnnx(graph, { parameters }), { pixel_values: X })).toEqual(await runOnnx(bytes, { pixel_values: X }));
});

test('reading and writing come to rest: the second file equals the third', () => {
  const again = (bytes: Uint8Array): Uint8Array => {
    const { graph, parameters } = readOnnx(bytes);
    return writeOnnx(graph, { parameters });
  };
  const second = again(writeOnnx(network().graph, { parameters: WEIGHTS }));
  expect(again(second)).toEqual(second);
});

test('parameters that are inputs of the file are parameters of the graph', () => {
  const { graph, parameters } = readOnnx(writeOnnx(network().graph));
  expect([...graph.parameters.keys()]).toEqual([...WEIGHTS.keys()]);
  expect(graph.inputs).toHaveLength(1);
  expect(parameters.size).toBe(0);
});

test('a read graph can be added to', () => {
  const { graph } = readOnnx(writeOnnx(network().graph, { outputs: ['y'] }));
  const loss = reduceSum(graph.outputs.get('y')!, [0, 1, 2], false);
  const weight = graph.parameters.get('head.weight')!.tensor;
  expect(grad(loss, [weight])[0]!.shape).toEqual([2, 6]);
});

test('attributes of every type survive', () => {
  const g = createGraph('attributes');
  const x = g.input('x', 'float32', [2]);
  const attributes = {
    a: int(-3), b: float(0.5), c: text('grüße'), d: ints([1, -2, 3]),
    e: { type: 'floats', value: [0.25, -1] }, f: { type: 'strings', value: ['p', ''] }, g: { type: 'tensor', value: float32([1], [7]) },
  } as const;
  g.output('y', op('Mystery', [x, null, x], { domain: 'com.example', attributes, outputs: [{ dtype: 'float32', shape: [2] }] })[0]!);
  const node = readOnnx(writeOnnx(g.graph)).graph.nodes[0]!;
  expect(node.attributes).toEqual(attributes);
  expect(node.inputs.map((input) => input?.name)).toEqual(['x', undefined, 'x']);
  expect([node.opType, node.domain]).toEqual(['Mystery', 'com.example']);
});

test('weights in files are found by name only, below the given folder', () => {
  const file = (name: string): Map<string, ParameterData> =>
    new Map(WEIGHTS).set('head.bias', { dtype: 'float32', shape: [2], file: name, offset: 24, byteLength: 8 });
  const bytes = writeOnnx(network().graph, { parameters: file('/models/blobs/a'), externalRoot: '/models' });
  const { parameters } = readOnnx(bytes, { directory: '/elsewhere' });
  expect(parameters.get('head.bias')).toEqual({ dtype: 'float32', shape: [2], file: '/elsewhere/blobs/a', offset: 24, byteLength: 8 });
  expect(() => readOnnx(bytes)).toThrow(/Give|lies in the file/);
  const model = decodeModel(bytes);
  for (const location of ['../secret', '/etc/passwd', 'a/../../b', 'C:\\x', '']) {
    const initializers = model.graph.initializers.map((t) => (t.external === undefined ? t : { ...t, external: new Map([['location', location]]) }));
    const hostile = encodeModel({ ...model, graph: { ...model.graph, initializers } });
    expect(() => readOnnx(hostile, { directory: '/elsewhere' })).toThrow(expect.objectContaining({ code: 'QRT_GRAPH_FORMAT' }));
  }
});

test('Constant nodes, typed value lists and shapes that are not in the file are read', () => {
  const model = decodeModel(writeOnnx(network().graph, { outputs: ['y'] }));
  const tensor = { name: 'two', dims: [1], dataType: 1, raw: undefined, external: undefined, values: [2], doc: '' };
  const value = { name: 'value', type: 5, f: 0, i: 0n, s: '', t: undefined, floats: [], ints: [], strings: [] };
  const nodes = [
    { opType: 'Constant', domain: '', name: 'c', inputs: [], outputs: ['three'], attributes: [{ ...value, name: 'value_float', type: 1, f: 3 }] },
    { opType: 'Add', domain: '', name: 'a', inputs: ['pixel_values', 'three'], outputs: ['sum'], attributes: [] },
  ];
  const outputs = [{ name: 'sum', elemType: 1, shape: undefined, doc: '' }];
  const { graph } = readOnnx(encodeModel({ ...model, graph: { ...model.graph, nodes, initializers: [tensor], outputs, valueInfo: [] } }));
  expect(graph.outputs.get('sum')!.shape).toEqual(['batch', 'tokens', 3]);
  expect([...graph.constants.values()].map(({ data }) => data[0])).toEqual([3]);
});

test('order, duplicates and unknown operators without shapes are refused with the name', () => {
  const model = decodeModel(writeOnnx(network().graph, { parameters: WEIGHTS }));
  const graph = (changes: object): Uint8Array => encodeModel({ ...model, graph: { ...model.graph, ...changes } });
  expect(() => readOnnx(graph({ nodes: [...model.graph.nodes].reverse() }))).toThrow(/nothing before it makes/);
  expect(() => readOnnx(graph({ nodes: [...model.graph.nodes, ...model.graph.nodes] }))).toThrow(/two tensors are called/);
  const unknown = { ...model.graph.nodes[1]!, opType: 'Mystery', outputs: ['m'] };
  expect(() => readOnnx(graph({ nodes: [...model.graph.nodes.slice(0, 1), unknown] }))).toThrow(/Mystery.*not in the file/);
});

test('damaged bytes end in QRT_GRAPH_FORMAT, never otherwise', () => {
  const whole = writeOnnx(network().graph, { parameters: WEIGHTS });
  const mutation = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 12 });
  const attempt = (bytes: Uint8Array): void => {
    try {
      readOnnx(bytes, { directory: '/models' });
    } catch (error) {
      expect(isQuerentError(error) && error.code).toBe('QRT_GRAPH_FORMAT');
    }
  };
  fc.assert(
    fc.property(mutation, fc.nat(whole.length), (changes, length) => {
      const bytes = whole.slice();
      for (const [at, value] of changes) bytes[at] = value;
      attempt(bytes);
      attempt(whole.subarray(0, length));
      attempt(bytes.subarray(0, length));
    }),
    { numRuns: 1500 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), attempt));
});

test('a huge dim and a dim that explodes when multiplied are refused', () => {
  const model = decodeModel(writeOnnx(network().graph, { parameters: WEIGHTS }));
  const initializers = model.graph.initializers.map((t) => ({ ...t, dims: [2 ** 40, 2 ** 40] }));
  expect(() => readOnnx(encodeModel({ ...model, graph: { ...model.graph, initializers } }))).toThrow(/bytes/);
  const terms = Array.from({ length: 50 }, (_, i) => `d${i}`).join(' + ');
  const inputs = [{ ...model.graph.inputs[0]!, shape: Array.from({ length: 16 }, () => terms) }];
  expect(() => readOnnx(encodeModel({ ...model, graph: { ...model.graph, inputs } }))).toThrow(/too long/);
});
