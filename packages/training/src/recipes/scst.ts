/**
 * Self-critical training (Rennie 2017): after stage 2 has levelled off, the bridge learns from captions that the model
 * draws itself. Each image is captioned several times; a caption's advantage is its reward less the mean reward of the
 * image's other captions (a leave-one-out baseline), and the loss is Σ advantage · -log p. The reward and the sampler come
 * from outside: this package knows neither a metric nor a decoding loop.
 */
import { padRows } from '@querent/hub';
import type { Engine, LanguageModelPlugin, ParameterSet, Tensor, TensorData } from '@querent/core';
import { createGraph, gather, mul, reduceMean, reduceSum } from '@querent/graph';
import { createBatchPlan, mixSeed, randomAt } from '../data/batches.ts';
import { normaliseCaption } from '../data/text.ts';
import { trainingGraph } from '../training-graph.ts';
import type { PreparedRun, RunNumbers } from './common.ts';
import { startValues } from './start-values.ts';
import type { Stage2Parts } from './stage2.ts';
import { LANGUAGE_MODEL_SCOPE, languageProjection } from './stage2.ts';

export interface SelfCriticalNumbers extends RunNumbers {
  /** Captions drawn of each image. */
  readonly samples: number;
  readonly temperature: number;
  readonly maxNewTokens: number;
}

/** Draws captions with the frozen language model. */
export interface CaptionSampler extends AsyncDisposable {
  /** New token ids, one list a row of the soft prompt. Repeats with the seed. */
  sample(softPrompt: TensorData, promptIds: TensorData, options: { readonly seed: number; readonly temperature: number; readonly maxNewTokens: number }): Promise<readonly (readonly number[])[]>;
}

/** What self-critical training is handed by the composition root. */
export interface SelfCriticalHooks {
  openSampler(engine: Engine, model: LanguageModelPlugin, config: unknown, parameters: ParameterSet): Promise<CaptionSampler>;
  /** A judge of captions against the references of each image: `(image, caption) => reward`. */
  reward(references: readonly (readonly string[])[]): (image: number, caption: string) => number;
}

/** Stands at the end of every reference and of every caption that was finished: one that breaks off loses by it. */
const END_WORD = '</s>';

export interface SelfCriticalParts extends Stage2Parts {
  readonly engine: Engine;
  readonly hooks: SelfCriticalHooks;
}

/** Graph and data of a self-critical run. A batch holds `batch` images, each with `samples` captions. */
export async function prepareSelfCritical(numbers: SelfCriticalNumbers, parts: SelfCriticalParts): Promise<PreparedRun> {
  const { source, pairs, tokenizer, languageModel, languageConfig, engine } = parts;

  const g = createGraph('self-critical');
  const softPrompt = (scope: typeof g): Tensor => {
    const { queries } = parts.plugin.build(scope, parts.config).encode(source.features(scope, 'images'));
    return languageProjection(scope, queries, languageModel.width(languageConfig)); // [images, queries, hidden]
  };
  const prompts = softPrompt(g);
  const { tokenLogProbs } = languageModel.loss(
    g.scope(LANGUAGE_MODEL_SCOPE),
    {
      softPrompt: gather(prompts, g.input('image_of', 'int64', ['batch'])), // [batch, queries, hidden]
      promptIds: g.input('prompt_ids', 'int64', ['batch', 'prompt']),
      labels: g.input('labels', 'int64', ['batch', 'labels']),
    },
    languageConfig,
  );
  const advantage = g.input('advantage', 'float32', ['batch']);
  const reward = g.input('reward', 'float32', ['batch']);
  const loss = mul(reduceMean(mul(reduceSum(tokenLogProbs, [1], false), advantage), [0], false), -1);
  const graph = trainingGraph(g, { loss, mean_reward: reduceMean(reward, [0], false) }, (name) => !name.startsWith(`${LANGUAGE_MODEL_SCOPE}.`));
  const start = startValues(graph, numbers.seed, parts.plugin, parts.initial);

  const forward = createGraph('soft-prompt');
  forward.output('soft_prompt', softPrompt(forward));
  const bridge = await engine.compile(forward.graph, new Map(), { asInputs: graph.trained });
  const bare = new Map([...parts.frozen].map(([name, data]) => [name.slice(LANGUAGE_MODEL_SCOPE.length + 1), data] as const));
  const sampler = await parts.hooks.openSampler(engine, languageModel, languageConfig, bare);
  const judge = parts.hooks.reward(pairs.images.map((image) => image.captions.map((caption) => `${normaliseCaption(caption)} ${END_WORD}`)));

  const plan = createBatchPlan({ samples: pairs.images.length, batchSize: numbers.batch, seed: numbers.seed });
  const specials = languageModel.specialTokens(languageConfig);
  const eos = specials.eos[0]!;
  const open = tokenizer.encode('', { addSpecialTokens: true });

  return {
    graph,
    frozen: parts.frozen,
    start,
    steps: Math.floor((plan.batchesPerEpoch * numbers.epochs) / (numbers.accumulate ?? 1)),
    dependsOnWeights: true,
    batchAt: async (step, micro) => {
      const place = step * (numbers.accumulate ?? 1) + micro;
      const random = randomAt(mixSeed(numbers.seed, 6), place);
      const images = plan.at(place);
      const pictures = await source.feed(images, random);
      const { soft_prompt: prompt } = await bridge.run({ ...pictures, ...Object.fromEntries(start) });
      const imageOf = images.flatMap((_, row) => Array.from({ length: numbers.samples }, () => row));
      const promptIds: TensorData = { dtype: 'int64', shape: [imageOf.length, open.length], data: BigInt64Array.from(imageOf.flatMap(() => open), BigInt) };
      const drawn = await sampler.sample(repeatRows(prompt!, imageOf), promptIds, { seed: mixSeed(numbers.seed, 7, place), temperature: numbers.temperature, maxNewTokens: numbers.maxNewTokens });
      const rewards = drawn.map((ids, i) => {
        const text = normaliseCaption(tokenizer.decode([...ids], { skipSpecialTokens: true }));
        return judge(images[imageOf[i]!]!, ids.at(-1) === eos ? `${text} ${END_WORD}` : text);
      });
      const labels = padRows(drawn.map((ids) => (ids.length === 0 ? [eos] : ids)), -100, 'right');
      const batch = imageOf.length;
      return {
        samples: images.length,
        feeds: {
          ...pictures,
          image_of: { dtype: 'int64', shape: [batch], data: BigInt64Array.from(imageOf, BigInt) },
          prompt_ids: promptIds,
          labels: { dtype: 'int64', shape: [batch, labels.width], data: labels.ids },
          advantage: { dtype: 'float32', shape: [batch], data: leaveOneOut(rewards, numbers.samples) },
          reward: { dtype: 'float32', shape: [batch], data: Float32Array.from(rewards) },
        },
      };
    },
    save: parts.save,
    close: async () => {
      await sampler[Symbol.asyncDispose]();
      await bridge[Symbol.asyncDispose]();
      await parts.close?.();
    },
  };
}

/** Reward less the mean reward of the other captions of the same image; captions of an image stand together. */
export function leaveOneOut(rewards: readonly number[], samples: number): Float32Array {
  return Float32Array.from(rewards, (reward, i) => {
    const first = i - (i % samples);
    const sum = rewards.slice(first, first + samples).reduce((a, b) => a + b, 0);
    return samples < 2 ? reward : reward - (sum - reward) / (samples - 1);
  });
}

function repeatRows(x: TensorData, rows: readonly number[]): TensorData<'float32'> {
  const [, queries, hidden] = x.shape as [number, number, number]; // the soft prompt has three axes
  const size = queries * hidden;
  const source = x.data as Float32Array; // float32 by the graph that made it
  const data = new Float32Array(rows.length * size);
  rows.forEach((row, i) => data.set(source.subarray(row * size, (row + 1) * size), i * size));
  return { dtype: 'float32', shape: [rows.length, queries, hidden], data };
}
