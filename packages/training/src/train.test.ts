/** The loop over a least-squares problem that can be followed by hand. Whole recipes: train-recipe.test.ts. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine, TensorData } from '@querent/core';
import { float32 } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { createGraph, linear, mul, reduceMean, sub } from '@querent/graph';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { randomAt } from './data/batches.ts';
import { ADAMW_DEFAULTS } from './adamw.ts';
import type { TrainEvent, TrainOptions } from './train.ts';
import { train } from './train.ts';
import { initialise, trainingGraph } from './training-graph.ts';

let engine: Engine;
let folder: string;
beforeAll(() => {
  engine = createOnnxEngine({ threads: 1 });
});
afterAll(() => engine[Symbol.asyncDispose]());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-train-'));
});
afterEach(() => rm(folder, { recursive: true }));

const STEPS = 12;

/** y = 2a - b + 1, learnt from drawn points; rows `from` to `to` of a step's eight. */
function points(step: number, from = 0, to = 8): Readonly<Record<string, TensorData>> {
  const random = randomAt(1, step);
  const x = Array.from({ length: 8 }, () => [random.normal(), random.normal()] as const).slice(from, to);
  return {
    x: float32([x.length, 2], x.flat()),
    y: float32([x.length, 1], x.map(([a, b]) => 2 * a - b + 1)),
  };
}

async function problem(change: Partial<TrainOptions> = {}): Promise<TrainOptions> {
  const g = createGraph('least-squares');
  const error = sub(linear(g.scope('line'), g.input('x', 'float32', ['batch', 2]), 1), g.input('y', 'float32', ['batch', 1]));
  const graph = trainingGraph(g, { loss: reduceMean(mul(error, error), [0, 1], false) }, () => true);
  return {
    graph,
    executable: await engine.compile(g.graph, new Map(), { asInputs: graph.trained, purpose: 'training' }),
    parameters: initialise(g.graph, graph.trained, randomAt(7)),
    batchAt: async (step) => ({ feeds: points(step), samples: 8 }),
    steps: STEPS,
    schedule: { type: 'constant', peak: 0.05 },
    optimiser: { ...ADAMW_DEFAULTS, weightDecay: 0.01 },
    ...change,
  };
}

interface Ran {
  readonly events: TrainEvent[];
  readonly weights: Readonly<Record<string, number[]>>;
}

async function run(options: TrainOptions): Promise<Ran> {
  const events: TrainEvent[] = [];
  const loop = train(options);
  for (;;) {
    const state = await loop.next();
    if (state.done === true) return { events, weights: Object.fromEntries([...state.value.weights].map(([name, tensor]) => [name, [...tensor.data]])) };
    events.push(state.value);
  }
}

const losses = (events: readonly TrainEvent[]): number[] => events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));

it('tells start, every step and the end, and the loss falls', async () => {
  const { events } = await run(await problem());
  expect(events.map((event) => event.type)).toEqual(['start', ...Array<string>(STEPS).fill('step'), 'end']);
  const step = events[3]!;
  expect(step).toMatchObject({ type: 'step', step: 3, steps: STEPS, learningRate: 0.05 });
  expect(step.type === 'step' && step.samplesPerSecond > 0 && Number.isFinite(step.secondsLeft)).toBe(true);
  const long = losses((await run(await problem({ steps: 200 }))).events);
  expect(long.at(-1)!).toBeLessThan(long[0]! / 100);
});

it('makes of two micro-batches what one batch of both makes', async () => {
  const whole = await run(await problem());
  const halves = await run(await problem({ accumulate: 2, batchAt: async (step, micro) => ({ feeds: points(step, micro * 4, micro * 4 + 4), samples: 4 }) }));
  losses(whole.events).forEach((loss, i) => expect(losses(halves.events)[i]).toBeCloseTo(loss, 4));
  for (const [name, values] of Object.entries(whole.weights)) values.forEach((value, i) => expect(halves.weights[name]![i]).toBeCloseTo(value, 4));
});

it('shortens gradients, and says how long they were', async () => {
  const free = await run(await problem({ steps: 1, optimiser: { betas: [0, 0], epsilon: 1, weightDecay: 0 } }));
  const clipped = await run(await problem({ steps: 1, optimiser: { betas: [0, 0], epsilon: 1, weightDecay: 0 }, maxGradNorm: 0.001 }));
  const norm = (ran: Ran): number => (ran.events[1] as Extract<TrainEvent, { type: 'step' }>).gradientNorm; // the second event is a step
  expect(norm(free)).toBeGreaterThan(0.1);
  expect(norm(clipped)).toBe(norm(free));
  expect(clipped.weights).not.toEqual(free.weights);
});

it('gives running averages where they are asked for', async () => {
  const plain = await problem();
  const start = new Map([...plain.parameters].map(([name, tensor]) => [name, [...tensor.data]]));
  const { weights } = await run({ ...plain, steps: 1, averageDecay: 0.9 });
  for (const [name, { data }] of plain.parameters) {
    // After the first step the decay is still (0 + 1) / (0 + 10).
    data.forEach((value, i) => expect(weights[name]![i]).toBeCloseTo(0.1 * start.get(name)![i]! + 0.9 * value, 5));
  }
});

it('scales the learning rate of each parameter', async () => {
  const before = await problem();
  const bias = before.parameters.get('line.bias')!.data.slice();
  const { weights } = await run({ ...before, learningRateScale: (name) => (name === 'line.bias' ? 0 : 1) });
  expect(weights['line.bias']).toEqual([...bias]);
});

it('asks for a batch only after the step before when batches depend on the weights', async () => {
  const options = await problem();
  const seen: number[] = [];
  const given = { ...options, steps: 4, batchesDependOnWeights: true, batchAt: async (step: number) => (seen.push(options.parameters.get('line.bias')!.data[0]!), { feeds: points(step), samples: 8 }) };
  await run(given);
  expect(new Set(seen).size).toBe(4);
});

describe('checkpoints', () => {
  const checkpoints = (everySeconds: number): NonNullable<TrainOptions['checkpoints']> => ({ folder: join(folder, 'checkpoints'), everySeconds, recipe: 'r' });

  it('let an aborted run go on to the same weights, bit for bit', async () => {
    const whole = await run(await problem({ averageDecay: 0.9 }));
    const controller = new AbortController();
    const first = await problem({ averageDecay: 0.9, checkpoints: checkpoints(1e6), signal: controller.signal });
    const seen: number[] = [];
    const stopped = (async () => {
      for await (const event of train(first)) {
        if (event.type !== 'step') continue;
        seen.push(event.step);
        if (event.step === 5) controller.abort(new Error('enough'));
      }
    })();
    await expect(stopped).rejects.toThrow('enough');
    expect(seen).toEqual([1, 2, 3, 4, 5]);

    const rest = await run(await problem({ averageDecay: 0.9, checkpoints: checkpoints(1e6) }));
    expect(rest.events[0]).toMatchObject({ type: 'start', step: 5 });
    expect(rest.weights).toEqual(whole.weights);
    const end = rest.events.at(-1)!;
    expect(end.type === 'end' && end.history.map((point) => point.step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  });

  it('are kept when the caller stops listening', async () => {
    for await (const event of train(await problem({ checkpoints: checkpoints(1e6) }))) if (event.type === 'step' && event.step === 3) break;
    expect(await readdir(join(folder, 'checkpoints'))).toEqual(['checkpoint-3']);
  });

  it('are refused when they are of other parameters', async () => {
    await run(await problem({ steps: 2, checkpoints: checkpoints(1e6) }));
    const g = createGraph('wider');
    const x = g.input('x', 'float32', ['batch', 2]);
    const graph = trainingGraph(g, { loss: reduceMean(linear(g.scope('line'), x, 3), [0, 1], false) }, () => true);
    const other = { ...(await problem({ checkpoints: checkpoints(1e6) })), graph, parameters: initialise(g.graph, graph.trained, randomAt(1)) };
    await expect(run(other)).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_MISMATCH' });
  });

  it('are written as time goes by', async () => {
    const { events } = await run(await problem({ checkpoints: checkpoints(0) }));
    expect(events.filter((event) => event.type === 'checkpoint').length).toBeGreaterThan(1);
    expect(await readdir(join(folder, 'checkpoints'))).toEqual([`checkpoint-${STEPS}`]);
  });
});

describe('failures', () => {
  it('stop the run before the update when the loss is not finite', async () => {
    const options = await problem({ batchAt: async (step) => ({ feeds: step < 3 ? points(step) : { ...points(step), y: float32([8, 1], new Float32Array(8).fill(Number.NaN)) }, samples: 8 }) });
    await expect(run(options)).rejects.toMatchObject({ code: 'QRT_ENGINE_RUN', message: expect.stringContaining('step 4') as string });
    for (const { data } of options.parameters.values()) expect(data.every(Number.isFinite)).toBe(true);
  });

  it('of a batch come out as they are', async () => {
    const options = await problem({ batchAt: async (step) => (step < 2 ? { feeds: points(step), samples: 8 } : Promise.reject(new Error('no picture'))) });
    await expect(run(options)).rejects.toThrow('no picture');
  });

  it('include a parameter without a start value', async () => {
    await expect(run(await problem({ parameters: new Map() }))).rejects.toMatchObject({ code: 'QRT_GRAPH_PARAMETER' });
  });
});
