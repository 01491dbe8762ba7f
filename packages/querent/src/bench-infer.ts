/**
 * What captioning costs, one precision in one process: seconds to load, to encode, to read the prompt; tokens and captions a second; peak
 * memory. `querent bench infer` runs a process for each precision, and PyTorch's (`bench/peer_infer.py`) beside them.
 */
import { performance } from 'node:perf_hooks';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { Querent } from './create-querent.ts';
import type { Precision } from './precision.ts';
import type { VisionLanguageModel } from './vision-language-model.ts';

export interface BenchInferOptions {
  /** Absent: as the checkpoint has it. */
  readonly precision?: Precision;
  /** New tokens of each caption; end tokens are read over. Default 32. */
  readonly newTokens?: number;
  readonly numBeams?: number;
  /** Runs, of which the fastest counts. Default 3. */
  readonly rounds?: number;
  readonly signal?: AbortSignal;
}

export interface BenchInferResult {
  readonly name: string;
  readonly precision: Precision | 'stored';
  readonly loadSeconds: number;
  /** Was the load the first one, which makes the quantised weights? Then it and the memory are not what later ones are. */
  readonly madeCache: boolean;
  /** One image through the encoder and the bridge. */
  readonly encodeSeconds: number;
  /** How the encoder's products are held, in `int8` and `int4`: how many, and the cosine of the queries to float32's. */
  readonly encoder?: { readonly integers: number; readonly blocks: number; readonly stored: number; readonly cosine: number };
  /** The image's queries and the prompt, up to the first token. */
  readonly prefillSeconds: number;
  /** Greedily, after the first token. */
  readonly tokensPerSecond: number;
  /** With {@link BenchInferOptions.numBeams} beams, the image encoded before. */
  readonly beamCaptionsPerSecond: number;
  readonly numBeams: number;
  readonly newTokens: number;
  /** Of this process, from its start. */
  readonly peakRssBytes: number;
  /** After loading, and after everything. */
  readonly rssBytes: readonly [number, number];
}

/** What is asked, so that both sides read a prompt. */
const PROMPT = 'a photo of';

/**
 * Loads `folder` and measures it on a picture of noise.
 *
 * @throws QuerentError QRT_MODEL_UNSUPPORTED for a model that writes no texts; what loading throws.
 */
export async function benchInfer(querent: Querent, folder: string, options: BenchInferOptions = {}): Promise<BenchInferResult> {
  const { precision, newTokens = 32, numBeams = 5, rounds = 3, signal } = options;
  const begun = performance.now();
  const before = await cached(folder);
  const model = await querent.load(folder, { ...(precision === undefined ? {} : { precision }), ...(signal === undefined ? {} : { signal }) });
  const loadSeconds = (performance.now() - begun) / 1000;
  try {
    const madeCache = [...(await cached(folder))].some((name) => !before.has(name));
    const loaded = process.memoryUsage.rss();
    if (!model.capabilities.has('generate')) throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${folder} writes no texts.`, { fix: 'Measure a model with a language model.' });
    const { encoderPrecision: chosen } = model;
    const pixels = noise(model);
    const call = signal === undefined ? {} : { signal };
    let softPrompt: TensorData<'float32'> | undefined;
    const encodeSeconds = await fastest(rounds, async () => void (softPrompt = await model.bridge(await model.encode([pixels], call), call)));
    const write = (tokens: number, beams: number): Promise<number> =>
      fastest(rounds, async () => {
        if (softPrompt === undefined) return;
        for await (const event of model.generate(softPrompt, { prompt: PROMPT, maxNewTokens: tokens, minNewTokens: tokens, numBeams: beams, ...call })) void event;
      });
    await write(2, 1); // what a first run alone pays for
    const prefillSeconds = await write(1, 1);
    const greedySeconds = await write(newTokens, 1);
    const beamSeconds = numBeams > 1 ? await write(newTokens, numBeams) : greedySeconds;
    return {
      name: 'querent',
      precision: precision ?? 'stored',
      loadSeconds,
      madeCache,
      encodeSeconds,
      ...(chosen === undefined ? {} : { encoder: { integers: chosen.integers.length, blocks: chosen.blocks.length, stored: chosen.stored.length, cosine: chosen.cosine } }),
      prefillSeconds,
      tokensPerSecond: greedySeconds > prefillSeconds ? (newTokens - 1) / (greedySeconds - prefillSeconds) : newTokens / greedySeconds, // a busy machine may stop any run
      beamCaptionsPerSecond: 1 / beamSeconds,
      numBeams,
      newTokens,
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
      rssBytes: [loaded, process.memoryUsage.rss()],
    };
  } finally {
    await model[Symbol.asyncDispose]();
  }
}

/** Whole cache files beside a checkpoint. */
async function cached(folder: string): Promise<ReadonlySet<string>> {
  const path = join(folder, '.querent');
  if ((await stat(path).catch(() => undefined)) === undefined) return new Set();
  return new Set((await readdir(path)).filter((name) => name.endsWith('.safetensors.json')));
}

/** Seconds. */
async function fastest(rounds: number, work: () => Promise<void>): Promise<number> {
  let best = Infinity;
  for (let round = 0; round < rounds; round++) {
    const begun = performance.now();
    await work();
    best = Math.min(best, (performance.now() - begun) / 1000);
  }
  return best;
}

/** Pixels as they come out of preprocessing, always the same. */
function noise({ parts: { processor } }: VisionLanguageModel): TensorData<'float32'> {
  const shape = [3, processor.height, processor.width];
  let state = 1;
  const data = Float32Array.from({ length: 3 * processor.height * processor.width }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
  return { dtype: 'float32', shape, data };
}
