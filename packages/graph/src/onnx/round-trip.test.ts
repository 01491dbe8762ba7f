import { elementCount, float32, int64 } from '@querent/core';
import { expect, test } from 'vitest';
import { runOnnx } from '../../test/onnxruntime.ts';
import { grad } from '../autodiff/grad.ts';
import { createGraph } from '../graph.ts';
import { crossEntropy, embedding, layerNorm, linear, mergeHeads, scaledDotProductAttention, splitHeads } from '../layers.ts';
import { add, gelu } from '../ops/elementwise.ts';
import { interpret } from '../testing/reference.ts';
import { readOnnx } from './read.ts';
import { writeOnnx } from './write.ts';

/** A transformer block with its loss and all gradients. */
function training() {
  const g = createGraph('training');
  const [ids, labels] = [g.input('ids', 'int64', ['batch', 'tokens']), g.input('labels', 'int64', ['batch', 'tokens'])];
  const embedded = embedding(g.scope('embedding'), ids, 11, 8);
  const normal = layerNorm(g.scope('norm'), embedded, 1e-5);
  const [q, k, v] = ['q', 'k', 'v'].map((name) => splitHeads(linear(g.scope(name), normal, 8), 2));
  const attended = add(embedded, linear(g.scope('o'), mergeHeads(scaledDotProductAttention(q!, k!, v!).output), 8));
  const hidden = add(attended, linear(g.scope('down'), gelu(linear(g.scope('up'), attended, 16)), 8));
  const { loss } = crossEntropy(linear(g.scope('head'), hidden, 11), labels, { ignoreIndex: -100 });
  const parameters = [...g.graph.parameters.values()];
  g.output('loss', loss);
  grad(loss, parameters.map(({ tensor }) => tensor)).forEach((gradient, n) => g.output(`gradient.${parameters[n]!.name}`, gradient));
  return g.graph;
}

test('a training graph gives the same loss and gradients in the reference, in onnxruntime, and after a round trip', async () => {
  const graph = training();
  const weights = new Map(
    [...graph.parameters.values()].map(({ name, shape }, n) => [name, float32(shape, Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(i * 1.7 + n) / 2))]),
  );
  const feeds = { ids: int64([2, 3], [1, 2, 3, 4, 5, 6]), labels: int64([2, 3], [2, 3, -100, 0, 10, 1]) };
  const bytes = writeOnnx(graph, { parameters: weights });
  const results = await runOnnx(bytes, feeds);
  const read = readOnnx(bytes);
  expect(await runOnnx(writeOnnx(read.graph, { parameters: read.parameters }), feeds)).toEqual(results);
  for (const outcomes of [interpret(graph, feeds, weights), interpret(read.graph, feeds, read.parameters)]) {
    expect(outcomes.size).toBe(graph.parameters.size + 1);
    for (const [name, { data }] of outcomes) {
      const values = results[name]!.data as Float32Array;
      const scale = Math.max(1e-3, ...values.map(Math.abs));
      // float32 against float64 through fifteen layers of gradients
      values.forEach((value, i) => expect(Math.abs(value - data[i]!) / scale, `${name}[${i}]`).toBeLessThan(1e-4));
    }
  }
});
