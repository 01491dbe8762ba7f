/** What all recipes share: the numbers of a run, and what a prepared run hands to the loop. */
import { resolve } from 'node:path';
import type { JsonSchema, ParameterSet, TensorData } from '@querent/core';
import type { AdamWOptions } from '../adamw.ts';
import type { Schedule } from '../schedules.ts';
import type { Batch } from '../train.ts';
import type { TrainingGraph } from '../training-graph.ts';

/** The part of a recipe that says how to train, whatever is trained. */
export interface RunNumbers {
  readonly seed: number;
  readonly batch: number;
  readonly epochs: number;
  readonly schedule: Schedule;
  readonly optimiser: AdamWOptions;
  readonly accumulate?: number;
  readonly maxGradNorm?: number;
  readonly averageDecay?: number;
  readonly checkpointSeconds?: number;
  /** Packages of plugins that the recipe needs. */
  readonly plugins?: readonly string[];
}

/** JSON Schema of {@link RunNumbers}' keys. */
export const runNumbersProperties: Readonly<Record<string, JsonSchema>> = {
  seed: { type: 'integer', minimum: 0, description: 'All randomness of the run comes from it.' },
  batch: { type: 'integer', minimum: 1, description: 'Samples of one forward and backward pass.' },
  epochs: { type: 'number', exclusiveMinimum: 0, description: 'Passes over the data; fractions are allowed.' },
  schedule: {
    description: 'The learning rate over the run.',
    oneOf: [
      {
        type: 'object',
        properties: {
          type: { const: 'linear_warmup_cosine' },
          peak: { type: 'number', exclusiveMinimum: 0 },
          minimum: { type: 'number', minimum: 0 },
          warmupSteps: { type: 'integer', minimum: 0 },
          warmupStart: { type: 'number', minimum: 0 },
        },
        required: ['type', 'peak', 'minimum', 'warmupSteps'],
        additionalProperties: false,
      },
      {
        type: 'object',
        properties: {
          type: { const: 'linear_warmup_cosine_per_epoch' },
          peak: { type: 'number', exclusiveMinimum: 0 },
          minimum: { type: 'number', minimum: 0 },
          warmupSteps: { type: 'integer', minimum: 0 },
          warmupStart: { type: 'number', minimum: 0 },
          epochs: { type: 'integer', minimum: 1 },
          stepsPerEpoch: { type: 'integer', minimum: 1 },
        },
        required: ['type', 'peak', 'minimum', 'warmupSteps', 'warmupStart', 'epochs', 'stepsPerEpoch'],
        additionalProperties: false,
      },
      {
        type: 'object',
        properties: { type: { const: 'constant' }, peak: { type: 'number', exclusiveMinimum: 0 } },
        required: ['type', 'peak'],
        additionalProperties: false,
      },
    ],
  },
  optimiser: {
    type: 'object',
    description: 'AdamW.',
    properties: {
      betas: { type: 'array', items: { type: 'number', minimum: 0, exclusiveMaximum: 1 }, minItems: 2, maxItems: 2 },
      epsilon: { type: 'number', exclusiveMinimum: 0 },
      weightDecay: { type: 'number', minimum: 0 },
    },
    required: ['betas', 'epsilon', 'weightDecay'],
    additionalProperties: false,
  },
  accumulate: { type: 'integer', minimum: 1, description: 'Batches summed into one update.' },
  maxGradNorm: { type: 'number', exclusiveMinimum: 0, description: 'Clip the global norm of the gradients.' },
  averageDecay: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1, description: 'Keep a running average of the weights and save that.' },
  plugins: { type: 'array', items: { type: 'string', minLength: 1 }, maxItems: 64, description: 'Packages of plugins that this recipe needs; they must be installed.' },
  checkpointSeconds: { type: 'number', exclusiveMinimum: 0, description: 'Time between checkpoints. Default 120.' },
};

const share = { type: 'number', minimum: 0, maximum: 1 } as const;
const weight = { type: 'number', minimum: 0 } as const;

type SourceKey = '$schema' | 'images' | 'annotations' | 'maxTokens' | 'labelSmoothing' | 'dropout' | 'weights' | 'prompt' | 'prefixShare' | 'initRate';

/** JSON Schema of keys that several kinds of recipe have: what is read, and how the objectives are set. */
export const sourceProperties: Readonly<Record<SourceKey, JsonSchema>> = {
  $schema: { type: 'string', description: 'The schema that an editor completes this file with.' },
  images: { type: 'string', description: 'The folder of the pictures, relative to the data folder.' },
  annotations: {
    type: 'object',
    description: 'The captions, in a Karpathy-style file relative to the data folder or in a dataset of a plugin, and the splits of it to read.',
    properties: {
      file: { type: 'string', description: 'A Karpathy-style file.' },
      dataset: { type: 'string', minLength: 1, description: 'The name of a dataset plugin, instead of a file.' },
      config: { type: 'object', description: 'Options of that dataset.' },
      splits: { type: 'array', items: { type: 'string' }, minItems: 1 },
    },
    required: ['splits'],
    oneOf: [
      { title: 'a file', required: ['file'] },
      { title: 'a dataset', required: ['dataset'] },
    ],
    additionalProperties: false,
  },
  maxTokens: { type: 'integer', minimum: 3, description: 'Captions are cut after so many tokens.' },
  labelSmoothing: { type: 'number', minimum: 0, exclusiveMaximum: 1, description: 'Share of each target that is spread evenly.' },
  dropout: { type: 'number', minimum: 0, exclusiveMaximum: 1, description: 'Rate of dropout inside the bridge.' },
  weights: {
    type: 'object',
    description: 'Weights of the three losses of stage 1; 0 leaves one out.',
    properties: { itc: weight, itm: weight, itg: weight },
    required: ['itc', 'itm', 'itg'],
    additionalProperties: false,
  },
  prompt: {
    type: 'object',
    description: 'Text that stands before a share of the captions, so that it may be asked for.',
    properties: { text: { type: 'string' }, share },
    required: ['text', 'share'],
    additionalProperties: false,
  },
  initRate: { type: 'number', exclusiveMinimum: 0, description: 'Multiplies the learning rate of the weights that `init` gives; those drawn anew have more to learn. 1 when absent.' },
  prefixShare: { ...share, description: 'Share of captions whose beginning is read and whose rest is written (prefix LM).' },
};

/** The keys of {@link RunNumbers} that a recipe must have. */
export const RUN_NUMBERS_REQUIRED = ['seed', 'batch', 'epochs', 'schedule', 'optimiser'] as const;

/** A recipe made concrete: what the loop needs, and how to write the result. */
export interface PreparedRun {
  readonly graph: TrainingGraph;
  /** Parameters of the graph that do not learn. */
  readonly frozen: ParameterSet;
  /** Start values of those that do. */
  readonly start: ReadonlyMap<string, TensorData<'float32'>>;
  readonly steps: number;
  readonly batchAt: (step: number, micro: number) => Promise<Batch>;
  readonly learningRateScale?: (name: string) => number;
  /** `batchAt` reads the weights in `start`, so a batch is made only after the step before it. Default false. */
  readonly dependsOnWeights?: boolean;
  /** Writes the trained model's folder. */
  readonly save: (weights: ReadonlyMap<string, TensorData<'float32'>>, folder: string) => Promise<void>;
  /** Frees what the run holds open; called once, however it ends. */
  readonly close?: () => Promise<void>;
}

/** The folder to begin with: the one that the caller names, else the recipe's own, relative to the recipe; undefined when there is none. */
export function initFolder(recipe: { readonly init?: string }, options: { readonly recipeFolder: string; readonly init?: string }): string | undefined {
  return options.init ?? (recipe.init === undefined ? undefined : resolve(options.recipeFolder, recipe.init));
}
