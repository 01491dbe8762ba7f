/**
 * What of Querent works on this machine: each engine and backend is started and runs a small graph, and a matrix product of 1024³ says
 * how fast it is. Nothing is believed because a file is there.
 */
import { availableParallelism, cpus, totalmem } from 'node:os';
import type { Engine, TensorData } from '@querent/core';
import { float32, isQuerentError } from '@querent/core';
import { createGraph, matMul, reduceSum } from '@querent/graph';
import type { Querent } from './create-querent.ts';
import { startEngine } from './start-engine.ts';

export interface Machine {
  readonly node: string;
  readonly platform: string;
  readonly processor: string;
  /** Cores that this process may use. */
  readonly cores: number;
  readonly memoryBytes: number;
}

export interface BackendReport {
  readonly engine: string;
  readonly backend: string;
  readonly works: boolean;
  /** 10⁹ floating-point operations a second in a product of two 1024 × 1024 matrices, copies in and out included; null when it does not work. */
  readonly gflops: number | null;
  /** What it is; or why it does not work, and what to install. */
  readonly note: string;
}

export interface DoctorReport {
  readonly machine: Machine;
  readonly backends: readonly BackendReport[];
}

const SIZE = 1024;
/** One that counts after one that does not; plain JavaScript takes seconds for each. */
const RUNS = 2;

/** Examines the machine, every engine and every backend of it, one after the other. */
export async function doctor(querent: Querent, options: { readonly threads?: number; readonly signal?: AbortSignal } = {}): Promise<DoctorReport> {
  const backends: BackendReport[] = [];
  for (const plugin of querent.registry.list('engine')) {
    const probed = new Map((await plugin.probe?.())?.map((status) => [status.backend, status.note]));
    for (const backend of plugin.backends.filter((name) => name !== 'auto')) {
      options.signal?.throwIfAborted();
      backends.push(await examine(querent, plugin.name, backend, probed.get(backend) ?? '', options));
    }
  }
  const machine = { node: process.version, platform: `${process.platform} ${process.arch}`, processor: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), memoryBytes: totalmem() };
  return { machine, backends };
}

async function examine(querent: Querent, engine: string, backend: string, note: string, { threads }: { readonly threads?: number }): Promise<BackendReport> {
  try {
    await using started = await startEngine(querent.registry, `${engine}:${backend}`, { inPlace: true, ...(threads === undefined ? {} : { threads }) });
    return { engine, backend, works: true, gflops: await speed(started), note };
  } catch (error) {
    return { engine, backend, works: false, gflops: null, note: isQuerentError(error) ? `${error.message} ${error.fix ?? ''}`.trim() : String(error) };
  }
}

/** GFLOP/s of a matrix product whose sum is read back: what a graph sees. */
async function speed(engine: Engine): Promise<number> {
  const g = createGraph('doctor');
  const [a, b] = [g.input('a', 'float32', [SIZE, SIZE]), g.input('b', 'float32', [SIZE, SIZE])];
  g.output('sum', reduceSum(matMul(a, b), [0, 1], false));
  await using executable = await engine.compile(g.graph, new Map());
  const ones = (value: number): TensorData<'float32'> => float32([SIZE, SIZE], new Float32Array(SIZE * SIZE).fill(value));
  const feeds = { a: ones(0.5), b: ones(2) };
  let best = Infinity;
  for (let run = 0; run < RUNS; run++) {
    const started = performance.now();
    const { sum } = await executable.run(feeds);
    best = Math.min(best, performance.now() - started);
    if (Math.abs(Number(sum?.data[0]) / SIZE ** 3 - 1) > 1e-3) throw new Error(`the product of ones sums to ${Number(sum?.data[0])} and not to ${SIZE ** 3}`);
  }
  return (2 * SIZE ** 3) / (best * 1e6);
}
