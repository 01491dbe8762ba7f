/** Speed against a peer in the same run: what `querent bench` prints. */
import type { Querent } from './create-querent.ts';
import { BENCH_TRAIN_SHAPES, benchTrain } from '@querent/training';
import type { BenchTrainResult } from '@querent/training';
import { QuerentError } from '@querent/core';

export { benchDecode } from './bench-decode.ts';
export type { BenchDecodeOptions, BenchDecodeResult } from './bench-decode.ts';
export { BENCH_INFER_PRESETS, writeRandomCheckpoint } from './bench-infer-checkpoint.ts';
export type { RandomCheckpointOptions } from './bench-infer-checkpoint.ts';
export { benchInfer } from './bench-infer.ts';
export type { BenchInferOptions, BenchInferResult } from './bench-infer.ts';
export { benchEngine } from './bench-engines.ts';
export type { BenchEngineOptions, EngineBenchmark } from './bench-engines.ts';
export type { BenchTrainResult } from '@querent/training';

export interface BenchOptions {
  /** Threads that the Querent was made with: told to the peer. */
  readonly threads: number;
  /** A name of `BENCH_TRAIN_SHAPES`: `base` or `mini`. Default `base`. */
  readonly shape?: string;
  readonly steps?: number;
  /** A Python that may have torch, and the peer's script. */
  readonly peer?: { readonly python: string; readonly script: string };
  readonly signal?: AbortSignal;
}

/**
 * One training step of stage 1 (ITC + ITM + ITG, forward, backward, AdamW) on random data.
 *
 * @throws QuerentError QRT_USAGE for an unknown shape.
 */
export async function benchStage1(querent: Querent, { shape = 'base', ...options }: BenchOptions): Promise<BenchTrainResult> {
  const named = Object.entries(BENCH_TRAIN_SHAPES).find(([name]) => name === shape)?.[1];
  if (named === undefined) throw new QuerentError('QRT_USAGE', `There is no shape ${JSON.stringify(shape)}.`, { fix: `There are: ${Object.keys(BENCH_TRAIN_SHAPES).join(', ')}.` });
  return benchTrain({ ...options, shape: named, engine: await querent.engine(), bridge: querent.registry.get('bridge', 'blip_2_qformer') });
}
