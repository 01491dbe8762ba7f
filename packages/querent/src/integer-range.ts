/**
 * How large an 8-bit weight may be on this processor. Without instructions for products of 8-bit integers (x86 with AVX2 alone), ONNX Runtime adds
 * two of them in 16 bits, where 255 × 127 twice does not fit and is cut off in silence; weights of 7 bits always fit. It is found out by such
 * a product, as no name of a processor says it.
 */
import type { Engine, TensorData } from '@querent/core';
import { float32 } from '@querent/core';
import { createGraph, dynamicQuantizeMatMul } from '@querent/graph';

/** The largest weight: 127, or 63 where sums of two products are cut off. */
export type LargestInteger = 127 | 63;

const known: WeakMap<Engine, Promise<LargestInteger>> = new WeakMap();

/** Asks the engine, once. */
export function largestInteger(engine: Engine): Promise<LargestInteger> {
  const asked = known.get(engine) ?? ask(engine);
  known.set(engine, asked);
  asked.catch(() => known.delete(engine)); // the next call tries again
  return asked;
}

/** Wide enough for whole registers. */
const WIDTH = 64;

async function ask(engine: Engine): Promise<LargestInteger> {
  const g = createGraph('integer-range');
  const x = g.input('x', 'float32', [WIDTH, WIDTH]);
  g.output('y', dynamicQuantizeMatMul(x, g.parameter('weight', [WIDTH, WIDTH], { dtype: 'int8' }), g.parameter('scales', [WIDTH])));
  const parameters = new Map<string, TensorData>([
    ['weight', { dtype: 'int8', shape: [WIDTH, WIDTH], data: new Int8Array(WIDTH * WIDTH).fill(127) }],
    ['scales', float32([WIDTH], new Float32Array(WIDTH).fill(1))],
  ]);
  await using executable = await engine.compile(g.graph, parameters);
  const { y } = await executable.run({ x: float32([WIDTH, WIDTH], new Float32Array(WIDTH * WIDTH).fill(1)) });
  const whole = WIDTH * 127;
  return y !== undefined && y.data.every((sum: unknown) => Math.abs(Number(sum) / whole - 1) < 0.01) ? 127 : 63;
}
