/**
 * The loop: batches → gradients → clip → AdamW → events. It knows no model: a training graph gives losses and
 * gradients by name, a batch source gives feeds as a function of the step, and everything else is numbers.
 * Events are the stream; a caller that stops listening, or aborts, stops the run after the step in hand, which is saved.
 */
import type { Executable, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { Checkpoint, HistoryPoint } from './checkpoint.ts';
import { loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
import type { AdamWOptions } from './adamw.ts';
import { AdamW } from './adamw.ts';
import type { TrainedParameter } from './optimisers.ts';
import { accumulate, clipGlobalNorm, trainedParameter } from './optimisers.ts';
import type { Schedule } from './schedules.ts';
import { learningRateAt } from './schedules.ts';
import type { TrainingGraph } from './training-graph.ts';
import { gradientOutputs } from './training-graph.ts';

/** What one run of the graph is fed. */
export interface Batch {
  readonly feeds: Readonly<Record<string, TensorData>>;
  /** How many samples it holds: for the speed shown. */
  readonly samples: number;
}

export type TrainEvent =
  | { readonly type: 'start'; readonly step: number; readonly steps: number; readonly trainedParameters: number }
  | {
      readonly type: 'step';
      /** Steps done, this one included. */
      readonly step: number;
      readonly steps: number;
      readonly loss: number;
      readonly losses: Readonly<Record<string, number>>;
      readonly learningRate: number;
      readonly gradientNorm: number;
      readonly samplesPerSecond: number;
      readonly secondsLeft: number;
    }
  | { readonly type: 'checkpoint'; readonly step: number; readonly path: string }
  | { readonly type: 'end'; readonly step: number; readonly history: readonly HistoryPoint[] };

export interface TrainOptions {
  readonly graph: TrainingGraph;
  /** The graph, compiled with its trained parameters as inputs. */
  readonly executable: Executable;
  /** Start values of all trained parameters; updated in place. */
  readonly parameters: ReadonlyMap<string, TensorData<'float32'>>;
  /** The feeds of a micro-batch: a function of the step and the micro-batch alone, so that a run can resume anywhere. */
  readonly batchAt: (step: number, micro: number) => Promise<Batch>;
  /** Make a batch only when its step begins, because it depends on the weights. Default: the next one is made meanwhile. */
  readonly batchesDependOnWeights?: boolean;
  readonly steps: number;
  readonly schedule: Schedule;
  readonly optimiser: AdamWOptions;
  /** Micro-batches summed into one update. Default 1. */
  readonly accumulate?: number;
  /** Clip the global norm of the gradients. Default: not. */
  readonly maxGradNorm?: number;
  /** Multiplies the learning rate of a parameter: layer-wise decay. Default 1 for all. */
  readonly learningRateScale?: (name: string) => number;
  /** Keep a running average of the weights with this decay. */
  readonly averageDecay?: number;
  readonly checkpoints?: { readonly folder: string; readonly everySeconds: number; readonly recipe: string };
  readonly signal?: AbortSignal;
}

export interface TrainedModel {
  /** Running averages where they are kept, else the parameters themselves. */
  readonly weights: ReadonlyMap<string, TensorData<'float32'>>;
}

/**
 * Trains until `steps` updates are done; resumes from the newest checkpoint of the folder.
 * @throws QuerentError QRT_ENGINE_RUN when the loss or the gradient is not finite.
 */
export async function* train(options: TrainOptions): AsyncGenerator<TrainEvent, TrainedModel> {
  const { graph, parameters, steps, signal } = options;
  const micros = options.accumulate ?? 1;
  const learned = graph.trained.map((name) => {
    const parameter = parameters.get(name);
    if (parameter === undefined) throw new QuerentError('QRT_GRAPH_PARAMETER', `Trained parameter ${name} has no start value.`);
    return { name, ...parameter };
  });
  const optimiser = new AdamW(learned.map(({ data }) => data.length));
  const { allocate } = optimiser;
  const trained = learned.map(({ name, shape, data }) => trainedParameter(name, shape, data, { learningRateScale: options.learningRateScale?.(name) ?? 1, allocate }));
  const average = options.averageDecay === undefined ? undefined : new Map(trained.map((p) => [p.name, Float32Array.from(p.values)]));
  const history: HistoryPoint[] = [];
  let step = 0;

  const resumed = options.checkpoints === undefined ? undefined : await loadCheckpoint(options.checkpoints.folder, options.checkpoints.recipe);
  if (resumed !== undefined) {
    restore(resumed, trained, average);
    step = resumed.state.step;
    history.push(...resumed.state.history);
  }
  const save = async (): Promise<TrainEvent | undefined> => {
    if (options.checkpoints === undefined) return undefined;
    const path = await saveCheckpoint(options.checkpoints.folder, snapshot(step, options.checkpoints.recipe, history, trained, parameters, average));
    return { type: 'checkpoint', step, path };
  };

  yield { type: 'start', step, steps, trainedParameters: trained.reduce((sum, p) => sum + p.values.length, 0) };
  // The same memory at each step; sums over micro-batches have their own.
  const gradients = trained.map((p) => allocate(p.values.length));
  const answers = micros === 1 ? gradients : trained.map((p) => new Float32Array(p.values.length));
  const into = gradientOutputs(learned, answers);
  const speed = createSpeedometer();
  let savedAt = Date.now();
  const isLazy = options.batchesDependOnWeights === true;
  let next = step < steps && !isLazy ? prefetch(options.batchAt(step, 0)) : undefined;
  let isLeft = true; // a generator whose caller stops listening ends at a yield, without an error
  try {
    while (step < steps) {
      if (signal?.aborted === true) {
        await save();
        throw signal.reason;
      }
      const losses: Record<string, number> = Object.fromEntries(graph.losses.map((name) => [name, 0]));
      let samples = 0;
      for (let micro = 0; micro < micros; micro++) {
        const batch = await (next ?? options.batchAt(step, micro));
        const following: [number, number] = micro + 1 < micros ? [step, micro + 1] : [step + 1, 0];
        next = following[0] < steps && !isLazy ? prefetch(options.batchAt(...following)) : undefined;
        const outputs = await options.executable.run({ ...batch.feeds, ...Object.fromEntries(parameters) }, { into });
        samples += batch.samples;
        for (const name of graph.losses) losses[name] = losses[name]! + Number(outputs[name]!.data[0]) / micros;
        if (micros === 1) continue;
        trained.forEach((p, i) => {
          if (micro === 0) gradients[i]!.fill(0);
          accumulate(gradients[i]!, answers[i]!, 1 / micros);
        });
      }
      const loss = losses['loss']!;
      if (!Number.isFinite(loss)) throw diverged('loss', loss, step);
      const gradientNorm = clipGlobalNorm(gradients, options.maxGradNorm ?? Infinity);
      if (!Number.isFinite(gradientNorm)) throw diverged('gradient norm', gradientNorm, step);
      const learningRate = learningRateAt(options.schedule, step, steps);
      trained.forEach((p, i) => optimiser.step(p, gradients[i]!, learningRate, step + 1, options.optimiser));
      if (average !== undefined) for (const p of trained) follow(average.get(p.name)!, p.values, Math.min(options.averageDecay!, (step + 1) / (step + 10)));
      step++;
      history.push({ step, learningRate, gradientNorm, losses });
      const samplesPerSecond = speed(samples);
      yield { type: 'step', step, steps, loss, losses, learningRate, gradientNorm, samplesPerSecond, secondsLeft: ((steps - step) * samples) / samplesPerSecond };
      if (options.checkpoints !== undefined && step < steps && Date.now() - savedAt >= options.checkpoints.everySeconds * 1000) {
        const event = await save();
        savedAt = Date.now();
        if (event !== undefined) yield event;
      }
    }
    isLeft = false;
  } catch (error) {
    isLeft = false;
    throw error;
  } finally {
    if (isLeft) await save();
  }
  const event = await save();
  if (event !== undefined) yield event;
  yield { type: 'end', step, history };
  return {
    weights: average === undefined ? parameters : new Map(trained.map((p) => [p.name, { dtype: 'float32', shape: parameters.get(p.name)!.shape, data: average.get(p.name)! }])),
  };
}

/** Thrown before the update: the weights are still those of the step before. */
function diverged(what: string, value: number, step: number): QuerentError {
  return new QuerentError('QRT_ENGINE_RUN', `The ${what} is ${value} at step ${step + 1}; expected a finite number.`, {
    fix: 'Lower the learning rate, lengthen the warm-up or clip the gradients (maxGradNorm).',
  });
}

/** A promise whose rejection waits for its reader. */
function prefetch(batch: Promise<Batch>): Promise<Batch> {
  batch.catch(() => undefined);
  return batch;
}

/** average += (1 - decay) (values - average) */
function follow(average: Float32Array, values: Float32Array, decay: number): void {
  const rate = 1 - decay;
  for (let i = 0; i < average.length; i++) average[i] = average[i]! + rate * (values[i]! - average[i]!);
}

/** Samples a second over about the last thirty steps. */
function createSpeedometer(): (samples: number) => number {
  const marks: { time: number; samples: number }[] = [{ time: performance.now(), samples: 0 }];
  return (samples) => {
    marks.push({ time: performance.now(), samples });
    if (marks.length > 31) marks.shift();
    const seconds = (marks.at(-1)!.time - marks[0]!.time) / 1000;
    return marks.slice(1).reduce((sum, mark) => sum + mark.samples, 0) / Math.max(seconds, 1e-9);
  };
}

function snapshot(
  step: number,
  recipe: string,
  history: readonly HistoryPoint[],
  trained: readonly TrainedParameter[],
  parameters: ReadonlyMap<string, TensorData<'float32'>>,
  average: ReadonlyMap<string, Float32Array> | undefined,
): Checkpoint {
  const tensors = (pick: (p: TrainedParameter) => Float32Array): Map<string, TensorData> =>
    new Map(trained.map((p) => [p.name, { dtype: 'float32', shape: parameters.get(p.name)!.shape, data: pick(p) }]));
  return {
    state: { step, recipe, history },
    weights: tensors((p) => p.values),
    first: tensors((p) => p.moments.first),
    second: tensors((p) => p.moments.second),
    ...(average === undefined ? {} : { average: tensors((p) => average.get(p.name)!) }),
  };
}

function restore(checkpoint: Checkpoint, trained: readonly TrainedParameter[], average: ReadonlyMap<string, Float32Array> | undefined): void {
  const fill = (target: Float32Array, source: TensorData | undefined, name: string): void => {
    if (source === undefined || !(source.data instanceof Float32Array) || source.data.length !== target.length) {
      throw new QuerentError('QRT_CHECKPOINT_MISMATCH', `The checkpoint lacks ${name}, or it has another shape there.`, { fix: 'It belongs to another recipe: give another --out.' });
    }
    target.set(source.data);
  };
  for (const p of trained) {
    fill(p.values, checkpoint.weights.get(p.name), p.name);
    fill(p.moments.first, checkpoint.first.get(p.name), p.name);
    fill(p.moments.second, checkpoint.second.get(p.name), p.name);
    if (average !== undefined) fill(average.get(p.name)!, checkpoint.average?.get(p.name), p.name);
  }
}
