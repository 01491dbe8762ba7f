/**
 * How fast stage 1 trains: forward, backward and AdamW of a Q-Former with all three losses, on random features and texts.
 * The same step in PyTorch is `bench/peer_train.py`; it runs beside when a Python with torch is given.
 * Other work on the machine only ever adds to a time, so the best step counts; the median is told too, and processor time,
 * which other work disturbs least: on one thread it is what a quiet machine would show.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { BridgePlugin, Engine, TensorData } from '@querent/core';
import { QuerentError, allocate, float32, int64 } from '@querent/core';
import { createGraph } from '@querent/graph';
import { createRandom } from '@querent/images';
import type { Random } from '@querent/images';
import { stage1 } from './objectives/stage1.ts';
import { ADAMW_DEFAULTS, AdamW } from './adamw.ts';
import { trainedParameter } from './optimisers.ts';
import { gradientOutputs, initialise, trainingGraph } from './training-graph.ts';

/** Sizes of the model and its batch, in the words of HuggingFace's config where it has them. */
export interface BenchTrainShape {
  readonly hidden_size: number;
  readonly num_attention_heads: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly cross_attention_frequency: number;
  readonly num_query_tokens: number;
  readonly encoder_hidden_size: number;
  readonly image_text_hidden_size: number;
  readonly vocab_size: number;
  /** Feature vectors of an image. */
  readonly patches: number;
  /** Of a text. */
  readonly tokens: number;
  readonly batch: number;
}

/** `base`: four of BERT-base's layers over ViT-g's features. `mini`: what `recipes/mini-stage1.json` trains. */
export const BENCH_TRAIN_SHAPES: Readonly<Record<'base' | 'mini', BenchTrainShape>> = {
  base: {
    hidden_size: 768, num_attention_heads: 12, intermediate_size: 3072, num_hidden_layers: 4, cross_attention_frequency: 2, num_query_tokens: 32,
    encoder_hidden_size: 1408, image_text_hidden_size: 256, vocab_size: 30522, patches: 257, tokens: 32, batch: 8,
  },
  mini: {
    hidden_size: 256, num_attention_heads: 4, intermediate_size: 512, num_hidden_layers: 3, cross_attention_frequency: 1, num_query_tokens: 16,
    encoder_hidden_size: 320, image_text_hidden_size: 128, vocab_size: 3072, patches: 49, tokens: 24, batch: 128,
  },
};

export interface BenchTrainOptions {
  /** Compiles and runs the graph; its thread count is told as `threads`. */
  readonly engine: Engine;
  readonly threads: number;
  readonly bridge: BridgePlugin;
  /** Default `base`. */
  readonly shape?: keyof typeof BENCH_TRAIN_SHAPES | BenchTrainShape;
  /** Measured steps, after one that is not. Default 5. */
  readonly steps?: number;
  /** Runs the peer: a Python that may have torch, and the path of `peer_train.py`. */
  readonly peer?: { readonly python: string; readonly script: string };
  readonly signal?: AbortSignal;
}

/** Of one implementation. */
export interface BenchTrainRun {
  readonly name: string;
  /** The best step. */
  readonly secondsPerStep: number;
  readonly medianSecondsPerStep: number;
  /** Processor time of all threads, the least of all steps. */
  readonly cpuSecondsPerStep: number;
  readonly samplesPerSecond: number;
  /** Resident memory of the whole process at its largest. */
  readonly peakRssBytes: number;
  readonly trainedParameters: number;
  /** After the last step: falls when the step learns. */
  readonly firstLoss: number;
  readonly lastLoss: number;
}

export interface BenchTrainResult {
  readonly shape: BenchTrainShape;
  readonly threads: number;
  readonly querent: BenchTrainRun;
  /** PyTorch computing what BLIP-2's published code computes. Null when there is no Python with torch. */
  readonly peer: BenchTrainRun | null;
  /** Ours over the peer's: below 1 is better. */
  readonly ratio: BenchTrainRatio | null;
  /** PyTorch as one would write it by hand for speed: keys and values of the image once for all passes, the last layer only where it is read. */
  readonly sharingPeer: BenchTrainRun | null;
  readonly sharingRatio: BenchTrainRatio | null;
}

export interface BenchTrainRatio {
  /** Of the best steps. */
  readonly time: number;
  /** Of the median steps: what a run takes, with what each side makes of a shared machine. */
  readonly medianTime: number;
  readonly cpuTime: number;
  readonly memory: number;
}

/**
 * Measures the step, then the peer's, as published and written for speed, one after the other.
 * @throws QuerentError QRT_PLUGIN_INVALID when the bridge lacks one of the three objectives.
 */
export async function benchTrain(options: BenchTrainOptions): Promise<BenchTrainResult> {
  const shape = typeof options.shape === 'object' ? options.shape : BENCH_TRAIN_SHAPES[options.shape ?? 'base'];
  const steps = options.steps ?? 5;
  if (!Number.isInteger(steps) || steps < 1) throw new QuerentError('QRT_USAGE', `steps is ${steps}; expected a whole number of at least 1.`);
  const querent = await benchQuerent(options, shape, steps);
  options.signal?.throwIfAborted();
  const measure = async (shares: boolean): Promise<BenchTrainRun | null> => (options.peer === undefined ? null : benchPeer(options.peer, { ...shape, steps, threads: options.threads, shares }, options.signal));
  const peer = await measure(false);
  const sharingPeer = await measure(true);
  return { shape, threads: options.threads, querent, peer, ratio: ratioOf(querent, peer), sharingPeer, sharingRatio: ratioOf(querent, sharingPeer) };
}

function ratioOf(ours: BenchTrainRun, theirs: BenchTrainRun | null): BenchTrainRatio | null {
  if (theirs === null) return null;
  return {
    time: ours.secondsPerStep / theirs.secondsPerStep,
    medianTime: ours.medianSecondsPerStep / theirs.medianSecondsPerStep,
    cpuTime: ours.cpuSecondsPerStep / theirs.cpuSecondsPerStep,
    memory: ours.peakRssBytes / theirs.peakRssBytes,
  };
}

async function benchQuerent({ engine, bridge: plugin, signal }: BenchTrainOptions, shape: BenchTrainShape, steps: number): Promise<BenchTrainRun> {
  const random = createRandom(1);
  const config = { ...plugin.defaults, ...shape };
  const g = createGraph('bench-train');
  const { batch } = shape;
  const inputs = {
    features: g.input('features', 'float32', ['batch', shape.patches, shape.encoder_hidden_size]),
    inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']),
    attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']),
    imageIds: g.input('image_ids', 'int64', ['batch']),
    negatives: { images: g.input('image_noise', 'float32', ['batch', 'batch']), texts: g.input('text_noise', 'float32', ['batch', 'batch']) },
  };
  const losses = stage1(plugin.build(g, config), inputs, { weights: { itc: 1, itm: 1, itg: 1 }, decoderToken: 1 });
  const { graph, trained } = trainingGraph(g, losses, () => true);
  await using executable = await engine.compile(graph, new Map(), { asInputs: trained, purpose: 'training', ...(signal === undefined ? {} : { signal }) });
  const parameters = initialise(graph, trained, random);
  const optimiser = new AdamW([...parameters.values()].map(({ data }) => data.length));
  const { allocate } = optimiser;
  const learned = [...parameters].map(([name, { shape: size, data }]) => trainedParameter(name, size, data, { allocate }));
  const feeds = { ...batchFeeds(shape, random), ...Object.fromEntries(parameters) };

  // The gradients are written to the same memory at each step.
  const gradients = learned.map(({ values }) => allocate(values.length));
  const into = gradientOutputs([...parameters].map(([name, { shape: size }]) => ({ name, shape: size })), gradients);

  const seconds: number[] = [];
  const cpuSeconds: number[] = [];
  const history: number[] = [];
  for (let step = 0; step <= steps; step++) {
    const start = performance.now();
    const cpuStart = process.cpuUsage();
    const outputs = await executable.run(feeds, signal === undefined ? { into } : { into, signal });
    learned.forEach((parameter, i) => optimiser.step(parameter, gradients[i]!, 1e-4, step + 1, ADAMW_DEFAULTS));
    seconds.push((performance.now() - start) / 1000);
    const cpu = process.cpuUsage(cpuStart);
    cpuSeconds.push((cpu.user + cpu.system) / 1e6);
    history.push(Number(outputs['loss']!.data[0]));
  }
  const measured = seconds.slice(1).sort((a, b) => a - b);
  return {
    name: engine.name,
    secondsPerStep: measured[0]!,
    medianSecondsPerStep: measured[measured.length >> 1]!,
    cpuSecondsPerStep: Math.min(...cpuSeconds.slice(1)),
    samplesPerSecond: batch / measured[0]!,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
    trainedParameters: learned.reduce((sum, { values }) => sum + values.length, 0),
    firstLoss: history[0]!,
    lastLoss: history.at(-1)!,
  };
}

/** Random features and texts of full length; each image is another. */
function batchFeeds({ batch, patches, tokens, encoder_hidden_size: width, vocab_size: vocabulary }: BenchTrainShape, random: Random): Record<string, TensorData> {
  const normal = (...size: number[]): TensorData => float32(size, Float32Array.from({ length: size.reduce((a, b) => a * b) }, () => random.normal()));
  const gumbel = (): TensorData => float32([batch, batch], Float32Array.from({ length: batch * batch }, () => -Math.log(-Math.log(random.next() + 1e-12))));
  return {
    features: normal(batch, patches, width),
    input_ids: int64([batch, tokens], Array.from({ length: batch * tokens }, () => 2 + Math.floor(random.next() * (vocabulary - 2)))),
    attention_mask: { dtype: 'int64', shape: [batch, tokens], data: allocate('int64', batch * tokens).fill(1n) },
    image_ids: int64([batch], [...Array(batch).keys()]),
    image_noise: gumbel(),
    text_noise: gumbel(),
  };
}

/** Null when Python is missing or has no torch: it exits with 3 then. */
async function benchPeer(peer: NonNullable<BenchTrainOptions['peer']>, request: object, signal?: AbortSignal): Promise<BenchTrainRun | null> {
  try {
    const { stdout } = await promisify(execFile)(peer.python, [peer.script, JSON.stringify(request)], signal === undefined ? {} : { signal });
    return JSON.parse(stdout) as BenchTrainRun; // our own script's one line
  } catch (cause) {
    signal?.throwIfAborted();
    const code = (cause as { code?: unknown }).code; // execFile: the exit status, or ENOENT
    if (code === 'ENOENT' || code === 3) return null;
    throw new QuerentError('QRT_USAGE', `The peer ${peer.script} failed: ${String(cause).slice(0, 500)}`, { cause });
  }
}
