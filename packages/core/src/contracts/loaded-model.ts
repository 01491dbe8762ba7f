/**
 * A model as a task sees it: encoder, bridge and language model, loaded and compiled, behind a few functions over bytes.
 * Types only. Which plugins are inside, which family the language model is of and which engine runs it does not show.
 */
import type { TensorData } from '../tensor.ts';
import type { ImageSource } from './image.ts';

/**
 * What a model can do. `encode` and `bridge` every model can; a stage-1 model has `embed` and `match`, a model with a
 * language model has `generate` and `score`; `attend` needs a bridge that shows its cross-attention.
 */
export type ModelCapability = 'encode' | 'bridge' | 'embed' | 'match' | 'generate' | 'score' | 'attend';

export interface ModelCallOptions {
  /** Acts between steps (an image prepared, a batch encoded, a token decoded); rejects with the signal's own reason. */
  readonly signal?: AbortSignal;
}

/** How to write. What is absent has the value of the model's `generation_config.json`, then the default given here. */
export interface GenerateOptions extends ModelCallOptions {
  /** Text that stands between the image and the answer: one for all rows, or one a row. Default none. */
  readonly prompt?: string | readonly string[];
  /** Default 30. */
  readonly maxNewTokens?: number;
  /** Tokens before an end may be written. Default 0. */
  readonly minNewTokens?: number;
  /** Most tokens altogether, as transformers counts: a token for each query, the prompt and what is written. `maxNewTokens` comes before it. */
  readonly maxLength?: number;
  /** Fewest tokens altogether, counted like `maxLength`. `minNewTokens` comes before it. */
  readonly minLength?: number;
  /** Hypotheses kept; 1 is greedy or sampled. Default 1. */
  readonly numBeams?: number;
  /** Beams stop when there are `numBeams` texts (true), when none can become better at the current length (false), or at any (`never`). Default false. */
  readonly earlyStopping?: boolean | 'never';
  /** Exponent of the length that a beam's score is divided by. Default 1. */
  readonly lengthPenalty?: number;
  /** Draw tokens instead of taking the likeliest. Default false. */
  readonly doSample?: boolean;
  /** Divides the logits before a draw. Default 1. */
  readonly temperature?: number;
  /** Only the k likeliest tokens are drawn from; 0 is all. Default 0. */
  readonly topK?: number;
  /** Only the likeliest tokens that share this probability are drawn from. Default 1. */
  readonly topP?: number;
  /** Only tokens at least so likely, relative to the likeliest, are drawn from. Default 0. */
  readonly minP?: number;
  /** Only the tokens whose information is nearest to what is expected, until they share this probability, are drawn from. Default 1. */
  readonly typicalP?: number;
  /** Divides the scores of tokens already there. Default 1. */
  readonly repetitionPenalty?: number;
  /** No run of this many tokens twice; 0 is off. Default 0. */
  readonly noRepeatNgramSize?: number;
  /** Runs of token ids that are never written. */
  readonly badWordsIds?: readonly (readonly number[])[];
  /** Token ids that are never written; that are not written first. */
  readonly suppressTokens?: readonly number[];
  readonly beginSuppressTokens?: readonly number[];
  /** The first token; the last one of a text that reaches its greatest length; tokens at places counted like `maxLength` from 0. */
  readonly forcedBosTokenId?: number;
  readonly forcedEosTokenId?: number;
  readonly forcedDecoderIds?: readonly (readonly [number, number])[];
  /** Ends a text where one of these appears, in a beam too; the string itself is left out. Default: `stop_strings` of the model. */
  readonly stop?: readonly string[];
  /** Makes draws repeatable. */
  readonly seed?: number;
  /** Texts a row: beams kept to the end, or draws. More than one needs beams or `doSample`. Default 1. */
  readonly numReturnSequences?: number;
}

/** What generating says while it goes on. `row` is the index within the batch. */
export type GenerateEvent =
  /**
   * Text that has just become certain. Not sent under beam search, where nothing is certain before the end, nor when several
   * texts a row are asked for.
   */
  | { readonly type: 'delta'; readonly row: number; readonly delta: string }
  /** A text of a row is done: `numReturnSequences` for each row, best first. */
  | {
      readonly type: 'text';
      readonly row: number;
      /** 0 for the row's best text. */
      readonly sequence: number;
      readonly text: string;
      readonly tokenIds: readonly number[];
      /** Mean log-probability of the tokens, length penalty applied. */
      readonly score: number;
      readonly finish: 'end' | 'stop' | 'length';
    };

/** Where the queries looked: probabilities over the patches of one image. */
export interface AttentionMap {
  /** A word of the text, or undefined for the image alone. */
  readonly word?: string;
  /** The query whose look it is, counted from 0, or undefined for the mean of all. */
  readonly query?: number;
  /** Patches down and across. */
  readonly rows: number;
  readonly columns: number;
  /** `rows * columns` numbers that sum to 1. */
  readonly weights: Float32Array;
}

/** A turn of a talk. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface ScoreOptions extends ModelCallOptions {
  /** Text that stands between the image and the answer: one for all rows, or one a row. Default none. */
  readonly prompt?: string | readonly string[];
  /** Exponent of the answer's length, end token included, that the sum of log-probabilities is divided by. Default 1: the mean; 0: the sum. */
  readonly lengthPenalty?: number;
}

export interface AttendOptions extends ModelCallOptions {
  /** A map for each query by itself, instead of their mean. Default false. */
  readonly perQuery?: boolean;
}

/** What {@link LoadedModel.rerank} made of pairs, one number a row each. */
export interface Reranked {
  /** What to order by; larger is a better match. */
  readonly scores: Float32Array;
  /** The log-odds of "they belong together" (ITM): a probability near 1 no longer tells two good matches apart. */
  readonly logits: Float32Array;
}

/**
 * A loaded model. Tensors that are given stay the caller's, tensors that come back are the caller's. A function whose
 * capability is missing throws QuerentError QRT_MODEL_UNSUPPORTED; tasks name what they need in `requires`.
 */
export interface LoadedModel extends AsyncDisposable {
  /** What it was loaded as: a folder or an id. */
  readonly name: string;
  readonly capabilities: ReadonlySet<ModelCapability>;
  /** Which family the language model is of; undefined where there is none. Only prompts depend on it. */
  readonly architecture?: 'decoder-only' | 'encoder-decoder' | undefined;
  /** Does the bridge read the question or instruction as well (InstructBLIP; `qformer_config.use_qformer_text_input`)? Default false. */
  readonly readsInstruction?: boolean;
  /** Prompt templates by task, from `prompts` in `config.json`: how this model was trained to be asked. */
  readonly prompts?: Readonly<Record<string, string>>;
  /**
   * A talk as one prompt, by the chat template that came with the tokenizer, ending where the answer begins; undefined where it has
   * none. The images stand before it.
   */
  chatPrompt?(messages: readonly ChatMessage[]): Promise<string | undefined>;
  /**
   * Decodes and prepares one image: float32 [channels, height, width].
   *
   * @throws QuerentError QRT_IMAGE or QRT_IMAGE_TOO_LARGE when it is not an image that can be decoded.
   */
  prepare(image: ImageSource, options?: ModelCallOptions): Promise<TensorData<'float32'>>;
  /**
   * Prepared images, one batch → the frozen encoder's features: float32 [batch, patches, width].
   *
   * @param options `givesUpPixels`: nobody reads these prepared images any more, so that the next ones may be written into their memory. Default false.
   */
  encode(pixelValues: readonly TensorData<'float32'>[], options?: ModelCallOptions & { readonly givesUpPixels?: boolean }): Promise<TensorData<'float32'>>;
  /**
   * Features → what the language model reads: float32 [batch, queries, hidden], projected where there is a language model.
   * Texts are for bridges that read the instruction (InstructBLIP), one a row.
   */
  bridge(
    features: TensorData<'float32'>,
    options?: ModelCallOptions & { readonly texts?: readonly string[] },
  ): Promise<TensorData<'float32'>>;
  /** Writes one text a row. `softPrompt` is what {@link LoadedModel.bridge} gave. */
  generate(softPrompt: TensorData<'float32'>, options?: GenerateOptions): AsyncIterable<GenerateEvent>;
  /**
   * How likely the language model finds each candidate answer: log-probability of its tokens and the end, [rows][candidates].
   */
  score(softPrompt: TensorData<'float32'>, candidates: readonly string[], options?: ScoreOptions): Promise<readonly Float32Array[]>;
  /** Unit vectors of images, one a query: float32 [batch, queries, shared]. */
  embedImages(features: TensorData<'float32'>, options?: ModelCallOptions): Promise<TensorData<'float32'>>;
  /** Unit vectors of texts: float32 [batch, shared]. Similarity is the largest cosine over an image's queries. */
  embedTexts(texts: readonly string[], options?: ModelCallOptions): Promise<TensorData<'float32'>>;
  /** The probability that text `i` belongs to image `i` (ITM): one number in [0, 1] a row. */
  match(features: TensorData<'float32'>, texts: readonly string[], options?: ModelCallOptions): Promise<Float32Array>;
  /**
   * Reads candidates again with the matching head. A score is the sum of its log-odds and the contrast's own logit, the similarity over its
   * learned temperature: ITM's negatives are drawn as likely as the contrast takes them for true, so what the head learns is how much likelier a
   * pair is than that (noise-contrastive estimation). A checkpoint without a temperature adds the similarity as it is (LAVIS `compute_sim_matrix`).
   *
   * @param similarities the largest cosine over the image's queries of each row
   */
  rerank?(features: TensorData<'float32'>, texts: readonly string[], similarities: Float32Array, options?: ModelCallOptions): Promise<Reranked>;
  /**
   * Where the queries looked while the bridge read one image: one map a word, each word read by itself, or one map of the image alone
   * where there is no text; of each of these one a query when they are asked for.
   */
  attend(features: TensorData<'float32'>, text: string, options?: AttendOptions): Promise<readonly AttentionMap[]>;
  /**
   * Maps laid over the image they are of, in reading order, as the bytes of a PNG. What the encoder did not see (cropped away) stays grey.
   *
   * @throws QuerentError QRT_IMAGE when the image cannot be decoded.
   */
  drawAttention?(image: ImageSource, maps: readonly AttentionMap[], options?: ModelCallOptions): Promise<Uint8Array>;
}
