/** A training step of a small stage 1 on one engine after the other: what `querent bench engines` compares. */
import type { Querent } from './create-querent.ts';
import { benchTrain } from '@querent/training';
import type { BenchTrainShape } from '@querent/training';

/** Small enough for plain JavaScript: a step takes it seconds. */
const SHAPE: BenchTrainShape = {
  hidden_size: 128, num_attention_heads: 4, intermediate_size: 256, num_hidden_layers: 2, cross_attention_frequency: 1, num_query_tokens: 8,
  encoder_hidden_size: 128, image_text_hidden_size: 64, vocab_size: 1024, patches: 17, tokens: 16, batch: 8,
};

/** Of one engine. */
export interface EngineBenchmark {
  /** `engine:backend` as it was started. */
  readonly engine: string;
  readonly secondsPerStep: number;
  /** Text tokens and query tokens that pass through the bridge in a second. */
  readonly tokensPerSecond: number;
  /** Resident memory of the whole process at its largest. */
  readonly peakRssBytes: number;
  /** After the last step: the same on every engine. */
  readonly lastLoss: number;
}

export interface BenchEngineOptions {
  readonly threads: number;
  /** Measured steps, after one that is not. Default 5. */
  readonly steps?: number;
  readonly signal?: AbortSignal;
}

/** Measures the Querent's own engine. A process for each engine keeps their memory apart. */
export async function benchEngine(querent: Querent, { threads, steps = 5, signal }: BenchEngineOptions): Promise<EngineBenchmark> {
  const engine = await querent.engine();
  const bridge = querent.registry.get('bridge', 'blip_2_qformer');
  const { querent: run } = await benchTrain({ engine, bridge, threads, steps, shape: SHAPE, ...(signal === undefined ? {} : { signal }) });
  const tokens = SHAPE.batch * (SHAPE.tokens + SHAPE.num_query_tokens);
  return { engine: engine.name, secondsPerStep: run.secondsPerStep, tokensPerSecond: tokens / run.secondsPerStep, peakRssBytes: run.peakRssBytes, lastLoss: run.lastLoss };
}
