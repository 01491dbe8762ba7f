/** Larger operators beside the small ones that they take the place of. */
import type { Graph, Tensor, TensorData } from '@querent/core';
import { float32, int64 } from '@querent/core';
import {
  add, cast, concat, cos, createGraph, fusedMatMul, layerNorm, linear, mergeHeads, mul, reshape, rmsNorm, scalar, sin, softmax, split, splitHeads, sub, tensorScatter, unsqueeze,
} from '@querent/graph';
import { expect, test } from 'vitest';
import { createOnnxEngine } from './engine.ts';
import { fuseGraph } from './fuse.ts';

interface Form {
  readonly heads: number;
  readonly keyHeads: number;
  readonly width: number;
  /** Channels that are rotated; 0: none. */
  readonly rotated: number;
  readonly centres: boolean;
}

/** Two layers of attention over caches, as the language models here write it. */
function decoder({ heads, keyHeads, width, rotated, centres }: Form): Graph {
  const g = createGraph('decoder');
  const hidden = heads * width;
  let x = g.input('x', 'float32', ['batch', 'tokens', hidden]);
  const positions = g.input('positions', 'int64', ['batch', 'tokens']);
  const mask = g.input('mask', 'float32', ['batch', 1, 'tokens', 'cache']);
  const writeIndices = g.input('write_indices', 'int64', ['batch']);
  const angles = mul(unsqueeze(cast(positions, 'float32'), [1, 3]), g.parameter('frequencies', [Math.max(1, rotated / 2)]));
  const [cosines, sines] = [cos(angles), sin(angles)];
  const rotate = (t: Tensor): Tensor => {
    if (rotated === 0) return t;
    const half = rotated / 2;
    const [a, b, ...rest] = split(t, 3, rotated === width ? [half, half] : [half, half, width - rotated]) as [Tensor, Tensor, ...Tensor[]];
    return concat([sub(mul(a, cosines), mul(b, sines)), add(mul(b, cosines), mul(a, sines)), ...rest], 3);
  };
  for (const layer of [0, 1]) {
    const at = g.scope('layers', layer);
    const normed = centres ? layerNorm(at.scope('norm'), x, 1e-5) : rmsNorm(at.scope('norm'), x, 1e-5);
    const written = (name: string, t: Tensor): Tensor => {
      const cache = tensorScatter(g.input(`past.${layer}.${name}`, 'float32', ['batch', keyHeads, 'cache', width]), t, writeIndices);
      g.output(`present.${layer}.${name}`, cache);
      return cache;
    };
    const q = rotate(splitHeads(linear(at.scope('q'), normed, hidden), heads));
    const k = written('key', rotate(splitHeads(linear(at.scope('k'), normed, keyHeads * width), keyHeads)));
    const v = written('value', splitHeads(linear(at.scope('v'), normed, keyHeads * width), keyHeads));
    const scores = fusedMatMul(reshape(q, ['batch', keyHeads, -1, width]), k, { transB: true, alpha: 0.3 });
    const masked = add(reshape(scores, ['batch', heads, 'tokens', 'cache']), mask);
    const mixed = reshape(fusedMatMul(reshape(softmax(masked), scores.shape), v), q.shape);
    x = add(x, linear(at.scope('o'), mergeHeads(mixed), hidden));
  }
  g.output('y', mul(x, scalar(x, 2)));
  return g.graph;
}

const FORMS: readonly Form[] = [
  { heads: 4, keyHeads: 2, width: 8, rotated: 8, centres: false },
  { heads: 4, keyHeads: 4, width: 16, rotated: 8, centres: true },
  { heads: 2, keyHeads: 2, width: 8, rotated: 0, centres: true },
];

const wave = (shape: readonly number[], seed: number): TensorData => float32(shape, Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(seed + i * 1.7)));
const count = (graph: Graph, opType: string): number => graph.nodes.filter((node) => node.opType === opType).length;

/** Reading three tokens into caches of their size, the first row padded on the left, or writing one behind three. */
function feedsOf(form: Form, tokens: number, cache: number): Record<string, TensorData> {
  const start = cache - tokens;
  const masks = [0, 1].flatMap((row) =>
    Array.from({ length: tokens }, (_, token) => Array.from({ length: cache }, (__, slot) => (slot <= start + token && (row === 1 || slot > 0) ? 0 : -3.4028234663852886e38))).flat(),
  );
  return {
    x: wave([2, tokens, form.heads * form.width], 1),
    positions: int64([2, tokens], [0, 1].flatMap((row) => Array.from({ length: tokens }, (_, token) => start + token - (row === 0 ? 1 : 0)))),
    mask: float32([2, 1, tokens, cache], masks),
    write_indices: int64([2], [start, start]),
    ...Object.fromEntries([0, 1].flatMap((layer) => ['key', 'value'].map((name) => [`past.${layer}.${name}`, wave([2, form.keyHeads, cache, form.width], layer + name.length)]))),
  };
}

/** Is this element of the first row's padding? Who sees nothing gets a mean of what there is, and nobody looks at it. */
function paddingTest(name: string, shape: readonly number[], isPrompt: boolean): (index: number) => boolean {
  const [, axis = 0, slots = 0] = shape.length === 4 ? shape.slice(0, 3) : [0, 1, ...shape.slice(1, 2)];
  const width = shape.at(-1)!;
  return (index) => index < axis * slots * width && Math.floor(index / width) % slots === 0 && (isPrompt || name !== 'y');
}

test.each(FORMS)('attention over a cache is one operator with the same results: %o', async (form) => {
  const graph = decoder(form);
  const fused = fuseGraph(graph);
  expect([count(fused, 'GroupQueryAttention'), count(fused, 'RotaryEmbedding')]).toEqual([2, form.rotated === 0 ? 0 : 4]);
  expect(count(fused, form.centres ? 'SkipLayerNormalization' : 'SkipSimplifiedLayerNormalization')).toBe(1); // the first norm has no sum before it
  const parameters = new Map([...graph.parameters.values()].map(({ name, shape }, i) => [name, wave(shape, i)]));
  await using engine = createOnnxEngine({ threads: 1 });
  await using large = await engine.compile(graph, parameters);
  await using small = await engine.compile(graph, parameters, { purpose: 'training' }); // stays as it is
  for (const [tokens, cache] of [[3, 3], [1, 4], [1, 1]] as const) {
    const feeds = feedsOf(form, tokens, cache);
    const [one, other] = [await large.run(feeds), await small.run(feeds)];
    for (const [name, { data, shape }] of Object.entries(other)) {
      expect(one[name]!.shape).toEqual(shape);
      const most = Math.max(...Array.from(data, (value) => Math.abs(Number(value))));
      const isPadding = paddingTest(name, shape, tokens === cache);
      data.forEach((value, i) => isPadding(i) || expect(Math.abs(Number(value) - Number(one[name]!.data[i]))).toBeLessThan(1e-5 * most));
    }
  }
});

test('caches are written in place, and only the slots of new tokens', async () => {
  const form = FORMS[0]!;
  const graph = decoder(form);
  const parameters = new Map([...graph.parameters.values()].map(({ name, shape }, i) => [name, wave(shape, i)]));
  await using engine = createOnnxEngine({ threads: 1 });
  await using decode = await engine.compile(graph, parameters);
  const feeds = { ...feedsOf(form, 1, 4), write_indices: int64([2], [2, 2]) };
  const before = feeds['past.1.key']!.data.slice();
  await decode.run(feeds, { into: { 'present.1.key': feeds['past.1.key']! } });
  const changed = Array.from({ length: 2 * form.keyHeads * 4 }, (_, slot) => {
    const range = [slot * form.width, (slot + 1) * form.width] as const;
    return feeds['past.1.key']!.data.slice(...range).join() === before.slice(...range).join() ? 0 : 1;
  });
  expect(changed).toEqual(Array.from({ length: 2 * form.keyHeads }, () => [0, 0, 1, 0]).flat());
});

test('what does not fit stays as it is', () => {
  const narrow = decoder({ heads: 4, keyHeads: 2, width: 4, rotated: 4, centres: false });
  expect(fuseGraph(narrow)).toBe(narrow);
  const g = createGraph('plain');
  g.output('y', rmsNorm(g.scope('norm'), add(g.input('x', 'float32', ['batch', 'tokens', 8]), 1), 1e-5));
  expect(fuseGraph(g.graph)).toBe(g.graph);
});
