/**
 * An image encoder of our own: a student of any family learns the patch features of a frozen teacher on the same views of
 * the same pictures. Features and pixels are computed once and read from caches (`data/view-caches.ts`). The head that
 * brings the student to the teacher's width is dropped in the end: what is saved is an encoder's folder, which `encoder` of
 * the bridge's recipes can name.
 */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { JsonSchema, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import { createGraph, linear, slice } from '@querent/graph';
import type { JsonObject } from '@querent/hub';
import { openModelFolder, saveModelFolder } from '@querent/hub';
import type { ColorJitter } from '@querent/images';
import { colorJitter } from '@querent/images';
import { createBatchPlan, mixSeed, randomAt } from '../data/batches.ts';
import type { FeatureCache } from '../data/feature-cache.ts';
import type { PictureList, PictureSource } from '../data/picture-sources.ts';
import { listPictures, pictureSourceSchema } from '../data/picture-sources.ts';
import type { CachedEncoder } from '../data/view-caches.ts';
import { assertSameView, openViewFeatures, openViewPixels } from '../data/view-caches.ts';
import type { ViewOptions } from '../data/views.ts';
import { viewOptionsSchema } from '../data/views.ts';
import type { ChannelStatistics, DistillationWeights } from '../objectives/distillation.ts';
import { channelStatistics, distillation } from '../objectives/distillation.ts';
import type { RecipeEvent, TrainRecipeOptions } from '../train-recipe.ts';
import { initialise, trainingGraph } from '../training-graph.ts';
import type { PreparedRun, RunNumbers } from './common.ts';
import { RUN_NUMBERS_REQUIRED, runNumbersProperties, sourceProperties } from './common.ts';
import type { Encoder } from './frozen-encoder.ts';
import { encoderGraph, encoderOf, openEncoder, watched } from './frozen-encoder.ts';

export interface DistilRecipe extends RunNumbers {
  readonly kind: 'distil';
  /** Folder of the frozen encoder to learn from, relative to the recipe. */
  readonly teacher: string;
  /** `config.json` of the encoder to be trained. */
  readonly student_config: JsonObject & { readonly model_type: string };
  /** Where the pictures are; captions are not read. */
  readonly pictures: readonly PictureSource[];
  readonly views: ViewOptions;
  /** Colours of the student's pixels vary from step to step; the teacher saw them as they are. */
  readonly jitter?: ColorJitter;
  /** Of the three parts of the loss. Default 1 : 0.5 : 0.5. */
  readonly weights?: DistillationWeights;
}

const weight = { type: 'number', minimum: 0 } as const;

export const distilRecipeSchema: JsonSchema = {
  type: 'object',
  description: 'Trains an image encoder on the features of another one.',
  properties: {
    $schema: sourceProperties.$schema,
    kind: { const: 'distil', description: 'An encoder learns the features of a frozen one.' },
    teacher: { type: 'string', description: 'The folder of the frozen encoder to learn from, relative to the recipe.' },
    student_config: { type: 'object', description: 'The config.json of the encoder to be trained.', properties: { model_type: { type: 'string' } }, required: ['model_type'] },
    pictures: { type: 'array', description: 'Where the pictures are; captions are not read.', items: pictureSourceSchema, minItems: 1 },
    views: viewOptionsSchema,
    jitter: {
      type: 'object',
      description: "How far the colours of the student's pixels vary from step to step.",
      properties: { brightness: weight, contrast: weight, saturation: weight },
      additionalProperties: false,
    },
    weights: {
      type: 'object',
      description: 'Weights of the parts of the loss: squared error, cosine of the positions, cosine of the means.',
      properties: { mse: weight, cosine: weight, pooled: weight },
      required: ['mse', 'cosine', 'pooled'],
      additionalProperties: false,
    },
    ...runNumbersProperties,
  },
  required: ['kind', 'teacher', 'student_config', 'pictures', 'views', ...RUN_NUMBERS_REQUIRED],
  additionalProperties: false,
};

/** The student's parameters stand here in the training graph only. */
const STUDENT_SCOPE = 'student';
const HEAD_SCOPE = 'distillation_head';
/** Statistics that an encoder keeps beside its weights: they do not learn. */
const STATISTICS = /\.running_(mean|var)$/;
/** Pictures whose features the channels' statistics are taken from. */
const SAMPLED_PICTURES = 512;

/** The caches of one source of pictures. */
interface Views {
  readonly features: FeatureCache;
  readonly pixels: FeatureCache;
}

/**
 * Opens the teacher and the caches, which are computed first where there are none, and makes the run.
 * @throws QuerentError QRT_CONFIG_INVALID when teacher and student do not fit together, QRT_DATASET, QRT_IMAGE, QRT_FILE
 */
export async function* prepareDistil(recipe: DistilRecipe, options: TrainRecipeOptions): AsyncGenerator<RecipeEvent, PreparedRun> {
  const folder = await openModelFolder(resolve(options.recipeFolder, recipe.teacher));
  const { encoder: teacher, weights } = await openEncoder(folder, options.plugins);
  const student = encoderOf(recipe.student_config, options.plugins);
  assertSameView(teacher.processor, student.processor);
  const positions = alignedPositions(student, teacher);
  const lists: PictureList[] = [];
  for (const source of recipe.pictures) lists.push(await listPictures(source, options.dataFolder));
  await mkdir(options.cacheFolder, { recursive: true });

  const opened: FeatureCache[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(opened.splice(0).map((cache) => cache.close()));
  };
  let isReady = false;
  try {
    const views: Views[] = [];
    await using executable = await options.engine.compile(encoderGraph(teacher), weights);
    const cached: CachedEncoder = { ...teacher, folderConfig: folder.config, executable };
    const shared = { views: recipe.views, cacheFolder: options.cacheFolder };
    for (const pictures of lists) {
      const features = yield* watched('features', options.signal, (watch) => openViewFeatures(cached, { ...shared, ...watch, pictures, processor: teacher.processor }));
      opened.push(features);
      const pixels = yield* watched('pixels', options.signal, (watch) => openViewPixels({ ...shared, ...watch, pictures, processor: student.processor }));
      opened.push(pixels);
      views.push({ features, pixels });
    }
    const run = await runOver({ recipe, teacher, student, positions, views });
    isReady = true;
    return { ...run, close };
  } finally {
    if (!isReady) await close();
  }
}

interface Parts {
  readonly recipe: DistilRecipe;
  readonly teacher: Encoder;
  readonly student: Encoder;
  /** The first of the student's vectors that has a counterpart. */
  readonly positions: number;
  readonly views: readonly Views[];
}

async function runOver({ recipe, teacher, student, positions, views }: Parts): Promise<PreparedRun> {
  const { processor } = student;
  const g = createGraph('distil');
  const channels = teacher.plugin.width(teacher.config);
  // A number, because gradients of grouped convolutions need it.
  const pixels = g.input('pixel_values', 'float32', [recipe.batch, 3, processor.height, processor.width]);
  const target = g.input('teacher_features', 'float32', [recipe.batch, teacher.plugin.patches(teacher.config), channels]);
  const { lastHiddenState } = student.plugin.build(g.scope(STUDENT_SCOPE), pixels, student.config);
  const guess = linear(g.scope(HEAD_SCOPE), positions === 0 ? lastHiddenState : slice(lastHiddenState, 1, positions, Infinity), channels); // [batch, patches, channels]
  const losses = distillation(guess, target, await sampledStatistics(views, channels), recipe.weights ?? { mse: 1, cosine: 0.5, pooled: 0.5 });
  const graph = trainingGraph(g, losses, (name) => !STATISTICS.test(name));
  const frozen = initialise(graph.graph, [...graph.graph.parameters.keys()].filter((name) => STATISTICS.test(name)), randomAt(recipe.seed, 0, 3));

  const places = views.flatMap((cached, source) => Array.from({ length: cached.features.images }, (_, image) => ({ source, image })));
  const plan = createBatchPlan({ samples: places.length, batchSize: recipe.batch, seed: recipe.seed });
  return {
    graph,
    frozen,
    start: initialise(graph.graph, graph.trained, randomAt(recipe.seed, 0, 2)),
    steps: Math.floor((plan.batchesPerEpoch * recipe.epochs) / (recipe.accumulate ?? 1)),
    batchAt: async (step, micro) => {
      const place = step * (recipe.accumulate ?? 1) + micro;
      const random = randomAt(mixSeed(recipe.seed, 4), place);
      // All draws are made in order: the caches may answer in any.
      const rows = plan.at(place).map((picture) => ({ ...places[picture]!, view: random.int(recipe.views.count), seed: random.int(2 ** 31) }));
      const read = await Promise.all(rows.map(({ source, image, view }) => Promise.all([views[source]!.features.read([image], [view]), views[source]!.pixels.read([image], [view])])));
      const size = 3 * processor.height * processor.width;
      const data = new Float32Array(rows.length * size);
      read.forEach(([, levels], i) => {
        const picture = { width: processor.width, height: processor.height, data: Uint8Array.from(levels.data) };
        processor.normalize(colorJitter(picture, recipe.jitter ?? {}, randomAt(rows[i]!.seed)), data.subarray(i * size, (i + 1) * size));
      });
      const feeds = {
        pixel_values: { dtype: 'float32' as const, shape: [rows.length, 3, processor.height, processor.width], data },
        teacher_features: joined(read.map(([features]) => features)),
      };
      return { feeds, samples: rows.length };
    },
    save: (weights, folder) => saveStudent(student, new Map([...weights, ...frozen]), folder),
  };
}

/** One tensor of many with a first dim of 1. */
function joined(rows: readonly TensorData<'float32'>[]): TensorData<'float32'> {
  const [, ...shape] = rows[0]!.shape;
  const size = rows[0]!.data.length;
  const data = new Float32Array(rows.length * size);
  rows.forEach((row, i) => data.set(row.data, i * size));
  return { dtype: 'float32', shape: [rows.length, ...shape], data };
}

/** Mean and deviation of the teacher's channels over some pictures of every source, and all views in turn. */
async function sampledStatistics(views: readonly Views[], channels: number): Promise<ChannelStatistics> {
  const total = views.reduce((sum, { features }) => sum + features.images, 0);
  const stride = Math.max(1, Math.ceil(total / SAMPLED_PICTURES));
  const read: TensorData<'float32'>[] = [];
  for (const { features } of views) {
    const images = Array.from({ length: Math.ceil(features.images / stride) }, (_, i) => i * stride);
    const rows = await features.read(images, images.map((_, i) => i % features.views));
    read.push(rows);
  }
  const all = new Float32Array(read.reduce((sum, { data }) => sum + data.length, 0));
  let next = 0;
  for (const { data } of read) {
    all.set(data, next);
    next += data.length;
  }
  return channelStatistics(all, channels);
}

/** The encoder alone, fp32, in the layout of its family. */
function saveStudent({ config, processor }: Encoder, weights: ReadonlyMap<string, TensorData<'float32'>>, folder: string): Promise<void> {
  const own = new Map([...weights].flatMap(([name, data]) => (name.startsWith(`${STUDENT_SCOPE}.`) ? [[name.slice(STUDENT_SCOPE.length + 1), data] as const] : [])));
  return saveModelFolder(folder, {
    // The fingerprint tells two students with the same config apart: caches of features are named after the config.
    config: { ...config, torch_dtype: 'float32', weights_sha256: fingerprint(own) },
    parameters: own,
    dtype: 'float32',
    preprocessorConfig: processor.config,
  });
}

function fingerprint(weights: ReadonlyMap<string, TensorData<'float32'>>): string {
  const hash = createHash('sha256');
  for (const [name, { data }] of weights) hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return hash.digest('hex');
}

/** Where the student's vectors begin that stand for the teacher's: at 1 when the student alone has a [CLS]. */
function alignedPositions(student: Encoder, teacher: Encoder): number {
  const [own, wanted] = [student, teacher].map(({ plugin, config }) => plugin.patches(config)) as [number, number]; // two in, two out
  if (own === wanted) return 0;
  if (own === wanted + 1) return 1;
  throw new QuerentError('QRT_CONFIG_INVALID', `The student gives ${own} vectors an image, the teacher ${wanted}; expected as many, or one more for [CLS].`, {
    fix: 'Choose image_size and patch_size of /student_config so that the grids of patches are the same.',
  });
}
