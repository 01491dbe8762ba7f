/** What the conformance suites are made of: named checks for any test runner, drawn weights, and comparisons that say what differs. */
import type { Engine } from '../contracts/engine.ts';
import type { Graph, GraphScope } from '../contracts/graph.ts';
import type { Plugin } from '../contracts/plugin.ts';
import { checkPlugin } from '../di/check-plugin.ts';
import type { TensorData } from '../tensor.ts';
import { elementCount } from '../tensor.ts';

/**
 * One thing that a plugin must do. `run` rejects with an Error that says what is wrong.
 *
 * @example
 * for (const check of metricConformance(plugin, { judged, config: {} })) test(check.name, check.run);
 */
export interface ConformanceCheck {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** What suites that run graphs are handed: core knows no engine and no builder. */
export interface GraphTools {
  /** Started by the caller, who disposes it. */
  readonly engine: Engine;
  /** `createGraph` of `@querent/graph`. */
  readonly createGraph: (name: string) => GraphScope;
}

export function check(name: string, run: () => void | Promise<void>): ConformanceCheck {
  return { name, run: async () => run() };
}

/** The check that every suite begins with. */
export function keepsContract(plugin: Plugin): ConformanceCheck {
  return check(`the ${plugin.kind} ${plugin.name} keeps its contract`, () => void checkPlugin(plugin));
}

export function assert(isTrue: boolean, message: string): asserts isTrue {
  if (!isTrue) throw new Error(message);
}

/** Numbers in [-1, 1) that are the same in every run (mulberry32). */
export function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  });
}

export function tensorOf(shape: readonly number[], seed: number): TensorData<'float32'> {
  return { dtype: 'float32', shape, data: numbers(elementCount(shape), seed) };
}

export function idsOf(shape: readonly number[], ids: readonly number[]): TensorData<'int64'> {
  return { dtype: 'int64', shape, data: BigInt64Array.from(ids, BigInt) };
}

/** Weights for whatever a graph declares: small, and none of them zero, so that a forgotten tensor shows. */
export function weightsOf(...graphs: readonly Graph[]): Map<string, TensorData<'float32'>> {
  const weights = new Map<string, TensorData<'float32'>>();
  for (const graph of graphs) {
    for (const [name, { shape }] of graph.parameters) {
      const fanIn = shape.length > 1 ? elementCount(shape.slice(1)) : 4;
      weights.set(name, { dtype: 'float32', shape, data: numbers(elementCount(shape), weights.size + 1).map((x) => x / Math.sqrt(fanIn)) });
    }
  }
  return weights;
}

/** @throws Error that names the first value that differs. */
export function assertClose(what: string, found: TensorData | undefined, expected: TensorData, tolerance = 1e-4): void {
  assert(found !== undefined, `${what}: there is no such output.`);
  assert(found.shape.join() === expected.shape.join(), `${what} is [${found.shape.join(', ')}], expected [${expected.shape.join(', ')}].`);
  const largest = Math.max(1, ...Array.from(expected.data as Float32Array, Math.abs)); // only float tensors are compared
  for (let i = 0; i < found.data.length; i++) {
    const [a, b] = [Number(found.data[i]), Number(expected.data[i])];
    assert(Math.abs(a - b) <= tolerance * largest, `${what}: value ${i} of ${found.data.length} is ${a}, expected ${b}.`);
  }
}

export function assertFinite(what: string, { data }: TensorData): void {
  const at = Array.from(data as ArrayLike<number | bigint>, Number).findIndex((value) => !Number.isFinite(value)); // any dtype's numbers
  assert(at < 0, `${what}: value ${at} of ${data.length} is ${String(data[Math.max(at, 0)])}.`);
}
