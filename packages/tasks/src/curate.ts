/**
 * Curate: CapFilt as BLIP-2 does it (arXiv 2301.12597, section 3.4). For a picture from the web the captioner draws k captions (nucleus
 * sampling, 10 in the paper); they are ranked together with the caption it came with by a contrastive model, and the best two are kept.
 * One of them is drawn at random each time training sees the picture. The bulk form, over files of millions, is in `curate/`.
 */
import { QuerentError, defineTask, validate } from '@querent/core';
import type { ImageSource, JsonSchema, LoadedModel, TaskPlugin, TensorData } from '@querent/core';
import { assertImage } from './image-input.ts';
import { similarities } from './match.ts';
import { stack, unstack } from './tensors.ts';

/** Says how well captions fit an image: a stage-1 model's contrast ({@link contrastiveRanker}), a CLIP, a person. */
export interface CaptionRanker {
  /** Which one, for the record. */
  readonly name: string;
  /** One figure a caption, larger fits better; comparable within the image. */
  rank(image: ImageSource, captions: readonly string[], options?: { readonly signal?: AbortSignal }): Promise<ArrayLike<number>>;
}

export interface CurateInput {
  readonly image: ImageSource;
  /** The captions that it came with. They compete with the new ones. */
  readonly captions?: readonly string[];
  /** Captions to draw. Default 10. */
  readonly draw?: number;
  /** Captions to keep. Default 2. */
  readonly keep?: number;
  /** Tokens are drawn from the likeliest that share this probability. Default 0.9. */
  readonly topP?: number;
  /** Text that each new caption goes on from. Default none. */
  readonly prompt?: string;
  /** Most tokens of a new caption. Default 30. */
  readonly maxNewTokens?: number;
  /** Makes the draws repeatable. Default 0. */
  readonly seed?: number;
  /** Default: the captioner itself, where it can embed. */
  readonly ranker?: CaptionRanker;
}

/** A caption that was kept. */
export interface CuratedCaption {
  readonly caption: string;
  /** The ranker's figure. */
  readonly score: number;
  /** Did it come with the image, or was it drawn? */
  readonly source: 'web' | 'synthetic';
}

export interface CurateOutput {
  /** Best first. */
  readonly captions: readonly CuratedCaption[];
  /** Distinct captions that were ranked. */
  readonly candidates: number;
}

const DRAW = 10;
const KEEP = 2;
const TOP_P = 0.9;
const MAX_NEW_TOKENS = 30;

const input: JsonSchema = {
  description: 'An image with the captions it came with.',
  type: 'object',
  properties: {
    image: { description: 'A path, a URL, the bytes of a picture, a Blob, a stream or pixels.' },
    captions: { type: 'array', items: { type: 'string' }, description: 'The captions that it came with.' },
    draw: { type: 'integer', minimum: 0, maximum: 1000, description: 'Captions to draw. Default 10.' },
    keep: { type: 'integer', minimum: 1, maximum: 1000, description: 'Captions to keep. Default 2.' },
    topP: { type: 'number', exclusiveMinimum: 0, maximum: 1, description: 'Tokens are drawn from the likeliest that share this probability. Default 0.9.' },
    prompt: { type: 'string', description: 'Text that each new caption goes on from.' },
    maxNewTokens: { type: 'integer', minimum: 1, description: 'Most tokens of a new caption. Default 30.' },
    seed: { type: 'integer', description: 'Makes the draws repeatable. Default 0.' },
    ranker: { description: 'Who ranks: an object with a function rank(image, captions). Default: the captioner, where it can embed.' },
  },
  required: ['image'],
  additionalProperties: false,
};

const output: JsonSchema = {
  type: 'object',
  properties: {
    captions: {
      type: 'array',
      description: 'Best first.',
      items: { type: 'object', properties: { caption: { type: 'string' }, score: { type: 'number' }, source: { enum: ['web', 'synthetic'] } }, required: ['caption', 'score', 'source'] },
    },
    candidates: { type: 'integer', description: 'Distinct captions that were ranked.' },
  },
  required: ['captions', 'candidates'],
};

/**
 * The contrast of a stage-1 model as a ranker: the largest cosine of the image's queries with a caption (ITC).
 *
 * @throws QuerentError QRT_MODEL_UNSUPPORTED for a model that cannot embed.
 */
export function contrastiveRanker(model: LoadedModel): CaptionRanker {
  if (!model.capabilities.has('embed')) {
    throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${model.name} cannot rank captions: it can ${[...model.capabilities].join(', ')}, not embed.`, {
      fix: 'Rank with a stage-1 model, for instance models/querent-mini-retrieval (--ranker, or `ranker` in the call).',
    });
  }
  return {
    name: model.name,
    async rank(image, captions, options = {}) {
      const features = await model.encode([await model.prepare(image, options)], options);
      return similarities(await model.embedImages(features, options), await model.embedTexts(captions, options))[0] ?? [];
    },
  };
}

/** Draws captions of one image. */
async function drawn({ image, draw = DRAW, topP = TOP_P, prompt = '', maxNewTokens = MAX_NEW_TOKENS, seed = 0 }: CurateInput, model: LoadedModel, signal: AbortSignal): Promise<string[]> {
  if (draw === 0) return [];
  const [softPrompt] = unstack(await model.bridge(await model.encode([await model.prepare(image, { signal })], { signal }), { signal }));
  const rows: TensorData<'float32'>[] = Array.from({ length: draw }, () => softPrompt!); // one image, one soft prompt
  const texts: string[] = [];
  for await (const event of model.generate(stack(rows), { doSample: true, numBeams: 1, topP, prompt, maxNewTokens, minNewTokens: 1, seed, signal })) {
    if (event.type === 'text') texts[event.row] = `${prompt}${prompt !== '' && event.text !== '' && !/^\s/.test(event.text) ? ' ' : ''}${event.text}`;
  }
  return texts;
}

/** Captions that are the same but for case, blanks and a period at the end count as one; the first spelling stays. */
export function distinctCaptions(captions: readonly Omit<CuratedCaption, 'score'>[]): Omit<CuratedCaption, 'score'>[] {
  const seen = new Set<string>();
  return captions.flatMap(({ caption, source }) => {
    const text = caption.replace(/\s+/g, ' ').trim();
    const key = text.toLowerCase().replace(/[\s.]+$/, '');
    if (key === '' || seen.has(key)) return [];
    seen.add(key);
    return [{ caption: text, source }];
  });
}

/** One image: draw, rank together with what it came with, keep the best. */
export async function curateImage(given: CurateInput, model: LoadedModel, signal: AbortSignal): Promise<CurateOutput> {
  const { image, captions = [], keep = KEEP, ranker = contrastiveRanker(model) } = given;
  assertImage(image, 'curate');
  const web = captions.map((caption) => ({ caption, source: 'web' as const }));
  const synthetic = (await drawn(given, model, signal)).map((caption) => ({ caption, source: 'synthetic' as const }));
  const candidates = distinctCaptions([...web, ...synthetic]);
  if (candidates.length === 0) throw new QuerentError('QRT_DATASET', 'There is no caption to keep: it came with none, and none was drawn.', { fix: 'Draw at least one (draw, --captions).' });
  const scores = await ranker.rank(image, candidates.map(({ caption }) => caption), { signal });
  const ranked = candidates.map((candidate, i): CuratedCaption => ({ ...candidate, score: scores[i] ?? Number.NaN }));
  if (!ranked.every(({ score }) => Number.isFinite(score))) throw new QuerentError('QRT_PLUGIN_INVALID', `The ranker ${ranker.name} gave ${Array.from(scores).length} figures for ${candidates.length} captions, or what is not a number.`, { fix: 'It must give one finite figure a caption.' });
  return { captions: ranked.toSorted((a, b) => b.score - a.score).slice(0, keep), candidates: candidates.length };
}

const curate: TaskPlugin<CurateInput, CurateOutput> = defineTask<CurateInput, CurateOutput>({
  name: 'curate',
  description: 'Draws captions of an image, ranks them together with its own, keeps the best (CapFilt).',
  input,
  output,
  requires: ['encode', 'bridge', 'generate'],

  async *run(given, { model, signal }) {
    yield await curateImage(validate<CurateInput>(input, given, { what: 'the input of curate' }), model, signal);
  },
});
export default curate;
