/**
 * Every gradient rule against central differences, both in float64 by the reference interpreter. A case is an expression in
 * small inputs; its loss weighs all outputs with random numbers. Values lie on shifted grids, so that none are tied and none
 * are near 0, where some operators have a kink. `QUERENT_SEED` chooses other inputs. onnxruntime then runs the same gradients.
 */
import { describe, expect, test } from 'vitest';
import type { Built } from '../../test/gradient-cases.ts';
import { GRADIENT_CASES, asFloat32, build, float64 } from '../../test/gradient-cases.ts';
import { runOnnx } from '../../test/onnxruntime.ts';
import { writeOnnx } from '../onnx/write.ts';
import { interpret } from '../testing/reference.ts';
import { GRADIENT_RULES } from './grad.ts';

const SEED = Number(process.env['QUERENT_SEED'] ?? 1);
const STEP = 1e-5;
/** Constants such as √(2/π) are float32 in the graph: 6e-8 of themselves. */
const TOLERANCE = 1e-6;
/** onnxruntime computes in float32. */
const FLOAT32_TOLERANCE = 1e-4;

/** Central differences of `loss` in one input. */
function differences({ graph, feeds }: Built, name: string): Float64Array {
  const { shape, data } = feeds[name]!;
  const lossAt = (index: number, step: number): number => {
    const moved = Float64Array.from(data as Float64Array); // learned inputs are float64 feeds
    moved[index] = moved[index]! + step;
    return interpret(graph, { ...feeds, [name]: float64(shape, moved) }, new Map(), { outputs: ['loss'] }).get('loss')!.data[0]!;
  };
  return Float64Array.from({ length: data.length }, (_, index) => (lossAt(index, STEP) - lossAt(index, -STEP)) / (2 * STEP));
}

describe(`gradient rules against central differences, seed ${SEED}`, () => {
  test.each(GRADIENT_CASES.map((c, index) => [c.op, c.what, c, index] as const))('%s: %s', async (_op, _what, c, index) => {
    const built = build(c, SEED * 1000 + index);
    expect(built.forward).toContain(c.op);
    const outputs = interpret(built.graph, built.feeds, new Map(), { outputs: built.learned.map((name) => `grad/${name}`) });
    for (const name of built.learned) {
      const [actual, expected] = [outputs.get(`grad/${name}`)!, differences(built, name)];
      expect(actual.shape, `shape of the gradient of ${name}`).toEqual(built.feeds[name]!.shape);
      const largest = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
      expected.forEach((value, k) => expect(Math.abs(actual.data[k]! - value), `gradient of ${name}[${k}], expected ${value}, got ${actual.data[k]}`).toBeLessThanOrEqual(TOLERANCE * largest));
    }
    const names = built.learned.map((name) => `grad/${name}`);
    const needed = new Set(built.graph.inputs.map(({ name }) => name));
    const feeds = Object.fromEntries(Object.entries(built.feeds).filter(([name]) => needed.has(name)).map(([name, feed]) => [name, asFloat32(feed)]));
    const ran = await runOnnx(writeOnnx(built.graph, { outputs: names }), feeds);
    for (const name of names) {
      const [actual, expected] = [ran[name]!, outputs.get(name)!];
      expect(actual.shape).toEqual(expected.shape);
      const largest = expected.data.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
      expected.data.forEach((value, k) => expect(Math.abs(Number(actual.data[k]) - value), `onnxruntime's ${name}[${k}]`).toBeLessThanOrEqual(FLOAT32_TOLERANCE * largest));
    }
  });

  test('every operator with a rule has a case here', () => {
    const tested = new Set(GRADIENT_CASES.map((c) => c.op));
    expect(Object.keys(GRADIENT_RULES).filter((op) => !tested.has(op))).toEqual([]);
  });
});
