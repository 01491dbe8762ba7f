/** Every operator on every backend of TensorFlow.js against the reference's float64 loops. */
import type { DType, Graph, TensorData } from '@querent/core';
import { interpret } from '@querent/graph';
import { afterAll, describe, expect, test } from 'vitest';
import { GRADIENT_CASES, asFloat32, build } from '../../packages/graph/test/gradient-cases.ts';
import { OPERATOR_CASES, graphOf } from '../../packages/graph/test/operator-cases.ts';
import { tfjsEngines } from './backends.ts';

const engines = await tfjsEngines();
afterAll(async () => {
  for (const engine of engines) await engine[Symbol.asyncDispose]();
});

/** float32 arithmetic, and erf by a polynomial in plain JavaScript (1.5e-7), against float64. */
const TOLERANCE = 1e-5;
const GRADIENT_TOLERANCE = 1e-4;

async function compare(engine: (typeof engines)[number], graph: Graph, feeds: Readonly<Record<string, TensorData>>, outputs: readonly string[], tolerance: number): Promise<void> {
  const { tf } = engine.choice.backend;
  const before = tf.memory().numTensors;
  const expected = interpret(graph, feeds, new Map(), { outputs });
  const given = Object.fromEntries(graph.inputs.map(({ name }) => [name, asFloat32(feeds[name]!)]));
  {
    await using executable = await engine.compile(graph, new Map());
    const ran = await executable.run(given, { outputs });
    for (const name of outputs) {
      const [actual, { dtype, shape, data }] = [ran[name]!, expected.get(name)!];
      const declared: DType = graph.outputs.get(name)!.dtype;
      expect({ name, dtype: actual.dtype, shape: actual.shape }).toEqual({ name, dtype: declared === dtype ? dtype : declared, shape: [...shape] });
      const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
      const worst = data.reduce((most, value, i) => Math.max(most, Math.abs(Number(actual.data[i]) - value)), 0);
      expect(worst / largest, name).toBeLessThanOrEqual(tolerance);
    }
  }
  expect(tf.memory().numTensors).toBe(before);
}

describe.each(engines.map((engine) => [engine.name, engine] as const))('%s', (_name, engine) => {
  test.each(OPERATOR_CASES.map((sample, n) => [`${n} ${sample.op}`, sample] as const))('%s', async (_, sample) => {
    const { graph, feeds } = graphOf(sample);
    await compare(engine, graph, feeds, [...graph.outputs.keys()], TOLERANCE);
  });

  // Gradients are graphs of the operators above: WASM need not repeat them.
  test.each((engine.name === 'tfjs:wasm' ? [] : GRADIENT_CASES).map((c, index) => [`gradient of ${c.op}: ${c.what}`, c, index] as const))('%s', async (_, c, index) => {
    const built = build(c, 1000 + index);
    await compare(engine, built.graph, built.feeds, ['loss', ...built.learned.map((name) => `grad/${name}`)], GRADIENT_TOLERANCE);
  });
});
