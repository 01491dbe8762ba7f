/**
 * A loaded model: encoder, bridge and language model as core's `LoadedModel` has them, over compiled graphs. Knows no family and no
 * engine. Texts become ids in `texts.ts`, ids become text in `generation-text.ts`, graphs are in `model-graphs.ts`.
 */
import type {
  AttendOptions,
  AttentionMap,
  ChatMessage,
  GenerateEvent,
  GenerateOptions,
  ImageSource,
  LoadedModel,
  ModelCallOptions,
  ModelCapability,
  Reranked,
  ScoreOptions,
  SpecialTokens,
  TensorData,
} from '@querent/core';
import { QuerentError, elementCount, float32, int64, raceSignal } from '@querent/core';
import type { ChatTemplate, JsonObject, Tokenizer } from '@querent/hub';
import { isJsonObject, loadChatTemplate, loadTokenizer } from '@querent/hub';
import { decodeImage, drawHeatMaps, seenRegion } from '@querent/images';
import type { GeneratedSequence, GenerationOptions } from '@querent/llm-adapters';
import { fromGenerationConfig, generateOn } from '@querent/llm-adapters';
import { stack, stackInTurns } from '@querent/tasks';
import { attentionMaps } from './attention-map.ts';
import type { EncoderPrecision } from './encoder-precision.ts';
import type { Executables } from './executables.ts';
import { RowText, tokenPieces } from './generation-text.ts';
import type { GraphName } from './model-graphs.ts';
import type { ModelParts } from './model-parts.ts';
import { readsInstruction } from './model-parts.ts';
import type { ModelSource } from './model-source.ts';
import { assertIds, bridgeFeeds, historyRows, labelRows, promptFeeds, rectangle } from './texts.ts';

/** Longest text for a bridge whose config does not say. */
const MAX_BRIDGE_TOKENS = 512;
/** Batches of pixels whose memory is kept for the next ones. */
const SPARE_BATCHES = 2;
const SPARE_PIXELS = 64;
/** Candidates that are scored together. */
const SCORE_ROWS = 32;

/** What {@link VisionLanguageModel} is made of. */
export interface ModelInside {
  readonly source: ModelSource;
  readonly parts: ModelParts;
  readonly executables: Executables;
  readonly capabilities: ReadonlySet<ModelCapability>;
  readonly extra: readonly string[];
  readonly encoderPrecision?: EncoderPrecision;
  /** By file; what is missing is loaded when it is needed. */
  readonly tokenizers: Map<string, Promise<Tokenizer>>;
  /** Called when the model is disposed. */
  readonly onDispose: (model: VisionLanguageModel) => void;
}

/** A text may be matched with any of the images given. */
export interface MatchCallOptions extends ModelCallOptions {
  /** The image of each text, counted from 0. Default: text `i` belongs to image `i`. */
  readonly images?: readonly number[];
}

export class VisionLanguageModel implements LoadedModel {
  readonly name: string;
  readonly capabilities: ReadonlySet<ModelCapability>;
  /** Tensors of the checkpoint that nothing asked for: worth a warning. */
  readonly extraTensors: readonly string[];
  /** The plugins inside and the configs that they were built with. */
  readonly parts: ModelParts;
  readonly readsInstruction: boolean;
  /** What a calibration chose for the encoder; only of `int8` and `int4`. */
  readonly encoderPrecision: EncoderPrecision | undefined;
  readonly prompts: Readonly<Record<string, string>>;
  readonly #source: ModelSource;
  readonly #executables: Executables;
  readonly #defaults: GenerationOptions;
  readonly #tokenizers: Map<string, Promise<Tokenizer>>;
  readonly #onDispose: (model: VisionLanguageModel) => void;
  /** Memory of pixel batches, and of single images, that are done with. */
  readonly #spareBatches: Float32Array[] = [];
  readonly #sparePixels: Float32Array[] = [];
  #chatTemplate: Promise<ChatTemplate | undefined> | undefined;

  constructor({ source, parts, executables, capabilities, extra, tokenizers, onDispose, encoderPrecision }: ModelInside) {
    this.name = source.name;
    this.capabilities = capabilities;
    this.extraTensors = extra;
    this.parts = parts;
    this.encoderPrecision = encoderPrecision;
    this.readsInstruction = readsInstruction(parts);
    this.prompts = textsOf(source.recipe['prompts']);
    this.#source = source;
    this.#executables = executables;
    this.#tokenizers = tokenizers;
    this.#onDispose = onDispose;
    this.#defaults = fromGenerationConfig(source.generationConfig ?? {});
  }

  get architecture(): 'decoder-only' | 'encoder-decoder' | undefined {
    return this.parts.languageModel?.plugin.architecture;
  }

  async chatPrompt(messages: readonly ChatMessage[]): Promise<string | undefined> {
    const file = this.#source.languageTokenizer;
    if (file === undefined) return undefined;
    this.#chatTemplate ??= loadChatTemplate(file);
    this.#chatTemplate.catch(() => (this.#chatTemplate = undefined)); // the next call tries again
    const template = await this.#chatTemplate;
    if (template === undefined) return undefined;
    const prompt = template.render(messages);
    // Prompts are given the tokenizer's own first token; a template that writes it too would have it twice.
    const tokenizer = await this.#tokenizer('language');
    const [first] = tokenizer.encode('', { addSpecialTokens: true });
    const written = first === undefined ? undefined : tokenizer.idToToken(first);
    return written !== undefined && prompt.startsWith(written) ? prompt.slice(written.length) : prompt;
  }

  async prepare(image: ImageSource, options: ModelCallOptions = {}): Promise<TensorData<'float32'>> {
    const { processor } = this.parts;
    const picture = await decodeImage(image, options);
    const into = this.#sparePixels.pop();
    const data = await processor.processAsync(picture, { ...options, ...(into === undefined ? {} : { into }) });
    return { dtype: 'float32', shape: [3, processor.height, processor.width], data };
  }

  async encode(pixelValues: readonly TensorData<'float32'>[], options: ModelCallOptions & { readonly givesUpPixels?: boolean } = {}): Promise<TensorData<'float32'>> {
    const batch = await stackInTurns(pixelValues, options.signal, this.#spareBatches.pop());
    const features = await this.#run('encoder', { pixel_values: batch }, 'features', options);
    // Nobody reads the pixels any more, and memory that is used again is no work for the garbage collector. Not after a failure: who tries again needs them.
    if (this.#spareBatches.length < SPARE_BATCHES) this.#spareBatches.push(new Float32Array(batch.data.buffer)); // the whole of it: the next batch may be larger
    if (options.givesUpPixels === true) this.#sparePixels.push(...new Set(pixelValues.slice(0, SPARE_PIXELS - this.#sparePixels.length).map(({ data }) => data)));
    return features;
  }

  async bridge(features: TensorData<'float32'>, options: ModelCallOptions & { readonly texts?: readonly string[] } = {}): Promise<TensorData<'float32'>> {
    // Nothing asked is an empty instruction to a bridge that always reads one.
    const texts = options.texts ?? (this.readsInstruction ? Array.from({ length: features.shape[0] ?? 0 }, () => '') : undefined);
    if (texts === undefined) return this.#run('bridge', { features }, 'soft_prompt', options);
    const feeds = await this.#bridgeText(texts, features.shape[0]);
    return this.#run('bridge_with_text', { features, ...feeds }, 'soft_prompt', options);
  }

  async *generate(softPrompt: TensorData<'float32'>, options: GenerateOptions = {}): AsyncGenerator<GenerateEvent, void, undefined> {
    const languageModel = this.#languageModel('generate');
    const { stopStrings: usualStop = [], ...usually } = this.#defaults;
    const { prompt = '', stop = usualStop, signal, topK, ...given } = options;
    signal?.throwIfAborted();
    const tokenizer = await this.#tokenizer('language');
    const rows = softPrompt.shape[0] ?? 0;
    const tokens = this.#specialTokens(languageModel);
    const text = promptFeeds(tokenizer, perRow(prompt, rows), tokens, languageModel);
    if (text !== undefined) assertIds(text.ids, languageModel.plugin.vocabulary(languageModel.config), 'the language model');
    const { topK: usual, ...defaults } = withoutOverruled(usually, given);
    const limit = topK ?? usual ?? 0; // 0: all
    const wanted = given.numReturnSequences ?? 1; // a config's own number would surprise those who read one text a row
    // Draws need no beams, and n texts need n of them, whatever the config's own number is.
    const numBeams = given.numBeams ?? (given.doSample === true ? 1 : Math.max(defaults.numBeams ?? 1, defaults.doSample === true ? 1 : wanted));
    const decoding: GenerationOptions = { ...defaults, ...defined(given), ...(limit === 0 ? {} : { topK: limit }), numBeams, numReturnSequences: wanted };
    // Beams and draws end at a stop text; a single text is watched as it is written, below.
    const ending = stop.length > 0 && (numBeams > 1 || wanted > 1) ? { pieces: tokenPieces(tokenizer) } : undefined;
    const executables = await this.#executables.decoding(languageModel.plugin, text !== undefined);
    const history = languageModel.plugin.architecture === 'decoder-only' ? { history: historyRows(text, rows, softPrompt.shape[1] ?? 0, this.#imageToken()) } : {};
    const args = { softPrompt, tokens, options: ending === undefined ? decoding : { ...decoding, stopStrings: stop }, ...ending, ...history, ...(text === undefined ? {} : { promptIds: text.ids, promptMask: text.mask }) };
    const texts = Array.from({ length: rows }, () => new RowText(tokenizer, stop));
    const ended: (readonly GeneratedSequence[])[] = [];
    for await (const event of generateOn(this.#executables.engine, executables, args, signal)) {
      if (event.type === 'generated') {
        ended.push(...event.rows);
        continue;
      }
      if (wanted > 1) continue; // which text is the best shows in the end
      const delta = texts[event.row]!.add(event.id, event.logProb);
      if (delta !== '') yield { type: 'delta', row: event.row, delta };
      if (texts.every((row) => row.isStopped)) break; // nobody reads what would follow
    }
    const isStreamed = numBeams === 1 && wanted === 1;
    for (const [row, writing] of texts.entries()) {
      const sequences = ended[row] ?? [{ ids: writing.ids, score: writing.score, finish: 'stop' as const }];
      for (const [sequence, end] of sequences.entries()) {
        const text = wanted === 1 ? writing : new RowText(tokenizer, stop);
        const { delta, text: whole, isStopped } = text.finish(end.ids);
        if (isStreamed && delta !== '') yield { type: 'delta', row, delta };
        const how = text.isStopped ? { tokenIds: text.ids, score: text.score } : { tokenIds: end.ids, score: end.score };
        yield { type: 'text', row, sequence, text: whole, ...how, finish: isStopped ? 'stop' : end.finish === 'length' ? 'length' : 'end' };
      }
    }
  }

  async score(
    softPrompt: TensorData<'float32'>,
    candidates: readonly string[],
    options: ScoreOptions = {},
  ): Promise<readonly Float32Array[]> {
    const languageModel = this.#languageModel('score');
    const tokenizer = await this.#tokenizer('language');
    const rows = softPrompt.shape[0] ?? 0;
    const tokens = this.#specialTokens(languageModel);
    const { prompt = '', lengthPenalty = 1 } = options;
    const prompts = perRow(prompt, rows);
    const size = elementCount(softPrompt.shape.slice(1));
    const scores = Array.from({ length: rows }, () => new Float32Array(candidates.length));
    const pairs = scores.flatMap((_, row) => candidates.map((candidate, index) => ({ row, candidate, index })));
    for (let at = 0; at < pairs.length; at += SCORE_ROWS) {
      options.signal?.throwIfAborted();
      const some = pairs.slice(at, at + SCORE_ROWS);
      const labels = labelRows(tokenizer, some.map(({ candidate }) => candidate), tokens);
      const text = promptFeeds(tokenizer, some.map(({ row }) => prompts[row]!), tokens, languageModel) ?? rectangle(some.map(() => []), 0, 'right');
      for (const ids of [text.ids, labels]) assertIds(ids, languageModel.plugin.vocabulary(languageModel.config), 'the language model');
      const soft = stack(some.map(({ row }) => ({ dtype: 'float32', shape: softPrompt.shape.slice(1), data: softPrompt.data.subarray(row * size, (row + 1) * size) })));
      const feeds = { soft_prompt: soft, input_ids: text.ids, attention_mask: text.mask, labels };
      const logProbs = await this.#run('score', feeds, 'token_log_probs', options);
      const width = labels.shape[1] ?? 0;
      some.forEach(({ row, index }, i) => {
        let sum = 0;
        let count = 0;
        for (let j = i * width; j < (i + 1) * width; j++) {
          if (labels.data[j] === -100n) continue;
          sum += logProbs.data[j]!;
          count++;
        }
        scores[row]![index] = count === 0 ? 0 : sum / count ** lengthPenalty;
      });
    }
    return scores;
  }

  async embedImages(features: TensorData<'float32'>, options: ModelCallOptions = {}): Promise<TensorData<'float32'>> {
    this.#require('embed');
    return this.#run('image_features', { features }, 'image_features', options);
  }

  async embedTexts(texts: readonly string[], options: ModelCallOptions = {}): Promise<TensorData<'float32'>> {
    this.#require('embed');
    return this.#run('text_features', await this.#bridgeText(texts), 'text_features', options);
  }

  async match(features: TensorData<'float32'>, texts: readonly string[], options: MatchCallOptions = {}): Promise<Float32Array> {
    const feeds = await this.#pairs(features, texts, options);
    return (await this.#run('match', feeds, 'probability', options)).data;
  }

  async rerank(features: TensorData<'float32'>, texts: readonly string[], similarities: Float32Array, options: MatchCallOptions = {}): Promise<Reranked> {
    if (similarities.length !== texts.length) throw new QuerentError('QRT_USAGE', `${similarities.length} similarities were given for ${texts.length} texts.`, { fix: 'Give one a text.' });
    const feeds = { ...(await this.#pairs(features, texts, options)), similarity: float32([similarities.length], similarities) };
    const [scores, logits] = await this.#runFor('rerank', feeds, ['scores', 'logits'], options);
    return { scores: scores!.data, logits: logits!.data }; // an output each
  }

  async attend(features: TensorData<'float32'>, text: string, options: AttendOptions = {}): Promise<readonly AttentionMap[]> {
    this.#require('attend');
    const { perQuery = false } = options;
    const [rows, ...shape] = features.shape;
    if (rows !== 1) throw new QuerentError('QRT_USAGE', `attend looks at one image; the features are of ${rows}.`, { fix: 'Give the features of one image.' });
    const words = text.split(/\s+/).filter((word) => word !== '');
    if (words.length === 0) return attentionMaps(await this.#run('attend', { features }, 'attention', options), 0, { perQuery });
    // The bridge reads the image once with each word by itself.
    const image = { dtype: 'float32', shape, data: features.data } as const;
    const feeds = { features: stack(words.map(() => image)), ...(await this.#bridgeText(words)) };
    const maps = await this.#run('attend_with_text', feeds, 'attention', options);
    return words.flatMap((word, i) => attentionMaps(maps, i, { word, perQuery }));
  }

  async drawAttention(image: ImageSource, maps: readonly AttentionMap[], options: ModelCallOptions = {}): Promise<Uint8Array> {
    const picture = await decodeImage(image, options);
    return drawHeatMaps(picture, maps, { ...options, seen: seenRegion(picture, this.parts.processor) });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#onDispose(this);
    return this.#executables[Symbol.asyncDispose]();
  }

  /** Feeds of the matching head: which text is read with which image. */
  async #pairs(features: TensorData<'float32'>, texts: readonly string[], { images = texts.map((_, i) => i) }: MatchCallOptions): Promise<Record<string, TensorData>> {
    this.#require('match');
    const count = features.shape[0] ?? 0;
    if (images.length !== texts.length || images.some((image) => !Number.isInteger(image) || image < 0 || image >= count)) {
      throw new QuerentError('QRT_USAGE', `${texts.length} texts were to be matched with images [${images.slice(0, 8).join(', ')}${images.length > 8 ? ', …' : ''}] of ${count}.`, {
        fix: 'Give one text an image, or `images` with the number of the image of each text.',
      });
    }
    return { features, images: int64([images.length], images), ...(await this.#bridgeText(texts)) };
  }

  /** Runs a graph; its one output. An abort does not wait for the run. */
  async #run(graph: GraphName, feeds: Readonly<Record<string, TensorData>>, output: string, options: ModelCallOptions): Promise<TensorData<'float32'>> {
    return (await this.#runFor(graph, feeds, [output], options))[0]!; // an output each
  }

  async #runFor(graph: GraphName, feeds: Readonly<Record<string, TensorData>>, outputs: readonly string[], { signal }: ModelCallOptions): Promise<TensorData<'float32'>[]> {
    signal?.throwIfAborted();
    const executable = await this.#executables.get(graph);
    const running = executable.run(feeds, { outputs, ...(signal === undefined ? {} : { signal }) });
    const given = await (signal === undefined ? running : raceSignal(running, signal));
    return outputs.map((output) => {
      const result = given[output];
      if (result === undefined || !(result.data instanceof Float32Array)) throw new QuerentError('QRT_ENGINE_RUN', `Graph ${graph} gave no float32 output ${output}.`);
      return { dtype: 'float32', shape: result.shape, data: result.data };
    });
  }

  /** `input_ids` and `attention_mask` of the bridge's own tokenizer. */
  async #bridgeText(texts: readonly string[], rows: number = texts.length): Promise<Record<'input_ids' | 'attention_mask', TensorData<'int64'>>> {
    if (texts.length !== rows || rows === 0) throw new QuerentError('QRT_USAGE', `${texts.length} texts were given for ${rows} rows.`, { fix: 'Give one text a row.' });
    const { max_position_embeddings: longest, vocab_size: vocabulary } = configOf(this.parts.bridge.config);
    const { ids, mask } = bridgeFeeds(await this.#tokenizer('bridge'), texts, typeof longest === 'number' ? longest : MAX_BRIDGE_TOKENS);
    if (typeof vocabulary === 'number') assertIds(ids, vocabulary, 'the bridge');
    return { input_ids: ids, attention_mask: mask };
  }

  #tokenizer(of: 'language' | 'bridge'): Promise<Tokenizer> {
    const file = of === 'language' ? this.#source.languageTokenizer : this.#source.bridgeTokenizer;
    if (file === undefined) {
      return Promise.reject(
        new QuerentError('QRT_TOKENIZER', `${this.name} has no tokenizer.json for its ${of === 'language' ? 'language model' : 'bridge'}.`, {
          fix: "Copy tokenizer.json into the folder. Python's `AutoTokenizer` saves one.",
        }),
      );
    }
    const loading = this.#tokenizers.get(file) ?? loadTokenizer(file);
    this.#tokenizers.set(file, loading);
    loading.catch(() => this.#tokenizers.delete(file)); // the next call tries again
    return loading;
  }

  /** The id that stands for the image in transformers' prompts; undefined where the config names none. */
  #imageToken(): number | undefined {
    const { image_token_index: index, image_token_id: id } = this.#source.recipe;
    return [index, id].find((one) => typeof one === 'number');
  }

  /** Special ids of the config; `generation_config.json` has the last word. */
  #specialTokens({ plugin, config }: NonNullable<ModelParts['languageModel']>): SpecialTokens {
    const tokens = plugin.specialTokens(config);
    const id = (key: string): number | undefined => {
      const value = this.#source.generationConfig?.[key];
      return typeof value === 'number' ? value : undefined;
    };
    return {
      bos: id('bos_token_id') ?? tokens.bos,
      eos: this.#defaults.eosTokenIds ?? tokens.eos,
      pad: id('pad_token_id') ?? tokens.pad,
      decoderStart: id('decoder_start_token_id') ?? tokens.decoderStart,
    };
  }

  #languageModel(capability: 'generate' | 'score'): NonNullable<ModelParts['languageModel']> {
    const { languageModel } = this.parts;
    this.#require(capability);
    if (languageModel === undefined) throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${this.name} has no language model.`);
    return languageModel;
  }

  #require(capability: ModelCapability): void {
    if (this.capabilities.has(capability)) return;
    throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${this.name} cannot ${capability}; it can ${[...this.capabilities].join(', ')}.`, {
      fix: 'Load a model that can, for instance models/querent-mini to caption and models/querent-mini-retrieval to match.',
      details: { capability, capabilities: [...this.capabilities] },
    });
  }
}

/** A config as the JSON object that it is, for keys of HuggingFace's that not every plugin has. */
function configOf(config: unknown): JsonObject {
  return isJsonObject(config) ? config : {};
}

function textsOf(value: unknown): Record<string, string> {
  return isJsonObject(value) ? Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string')) : {};
}

/** @throws QuerentError QRT_USAGE when there is not one a row. */
function perRow(prompt: string | readonly string[], rows: number): readonly string[] {
  if (typeof prompt === 'string') return Array.from({ length: rows }, () => prompt);
  if (prompt.length !== rows) throw new QuerentError('QRT_USAGE', `${prompt.length} prompts were given for ${rows} rows.`, { fix: 'Give one prompt for all rows, or one a row.' });
  return prompt;
}

/** Without the lengths that are given in another way: in all tokens instead of new ones. */
function withoutOverruled(defaults: GenerationOptions, given: Pick<GenerateOptions, 'maxLength' | 'minLength'>): GenerationOptions {
  const { maxNewTokens, minNewTokens, ...rest } = defaults;
  return {
    ...rest,
    ...(maxNewTokens === undefined || given.maxLength !== undefined ? {} : { maxNewTokens }),
    ...(minNewTokens === undefined || given.minLength !== undefined ? {} : { minNewTokens }),
  };
}

/** Without what is undefined, so that it does not hide a default. */
function defined<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>; // some of its own entries
}
