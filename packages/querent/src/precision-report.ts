/**
 * What a precision costs and saves, measured on a language model: its weights' bytes, how far its logits are from the float32 model's, and
 * its perplexity on texts. What `querent inspect` prints; how weights are held is `precision.ts`.
 */
import type { Executable, PluginRegistry } from '@querent/core';
import { QuerentError, createRegistry, int64, isFileTensor } from '@querent/core';
import type { Tokenizer } from '@querent/hub';
import { loadTokenizer } from '@querent/hub';
import { builtInPlugins } from './built-in-plugins.ts';
import type { Precision } from './precision.ts';
import { PRECISIONS } from './precision.ts';
import type { TextModel } from './text-model.ts';
import { openTextModel } from './text-model.ts';

export interface PrecisionReportOptions {
  /** Default: all of them. float32 is always run, as the measure. */
  readonly precisions?: readonly Precision[];
  /** Texts of at least two tokens. Default: a few English sentences. */
  readonly texts?: readonly string[];
  readonly threads?: number;
  readonly registry?: PluginRegistry;
  readonly signal?: AbortSignal;
}

export interface PrecisionFigures {
  readonly precision: Precision;
  /** Bytes of the weights that decoding reads, as they are held. */
  readonly weightBytes: number;
  /** exp of the mean negative log-likelihood of the texts' tokens, each but the first. */
  readonly perplexity: number;
  /** Root mean square of the differences of logits over that of float32's logits. */
  readonly logitError: number;
  /** Mean Kullback-Leibler divergence from float32's next-token distribution, in nats. */
  readonly divergence: number;
  /** Share of positions whose likeliest token is float32's. */
  readonly agreement: number;
}

const TEXTS: readonly string[] = [
  'A brown dog is running through the snow with a stick in its mouth.',
  'The capital of France is Paris, which lies on the river Seine.',
  'Water boils at a hundred degrees Celsius at sea level, and at a lower temperature on a mountain.',
  'She opened the window, looked at the sky and decided to take an umbrella with her.',
];
/** Longest text that is read, in tokens. */
const MOST_TOKENS = 256;

/**
 * Runs the texts through the language model of `folder` in each precision, one after the other.
 *
 * @param folder as `openTextModel` takes it: a language model's folder, a whole model's, or a `.gguf` file
 * @throws QuerentError QRT_TOKENIZER when there is no tokenizer, QRT_USAGE when no text has two tokens; what loading throws.
 */
export async function precisionReport(folder: string, options: PrecisionReportOptions = {}): Promise<readonly PrecisionFigures[]> {
  const { precisions = PRECISIONS, texts = TEXTS, registry = createRegistry(builtInPlugins), threads, signal } = options;
  await using engine = await registry.get('engine', 'onnxruntime').create({ inPlace: true, ...(threads === undefined ? {} : { threads }) });
  let exact: readonly Scored[] | undefined;
  const figures: PrecisionFigures[] = [];
  for (const precision of ['fp32', ...precisions.filter((name) => name !== 'fp32')] as const) {
    signal?.throwIfAborted();
    const model = await openTextModel(folder, registry, engine, precision, signal);
    await using score = await model.compile('score');
    const scored = await scoreTexts(model, score, texts, signal);
    exact ??= scored;
    if (precisions.includes(precision)) figures.push({ precision, weightBytes: weightBytes(model), ...compare(exact, scored) });
  }
  return figures;
}

interface Scored {
  readonly logProbs: Float32Array;
  /** [labels, vocabulary] */
  readonly logits: Float32Array;
  readonly vocabulary: number;
}

async function scoreTexts(model: TextModel, score: Executable, texts: readonly string[], signal: AbortSignal | undefined): Promise<readonly Scored[]> {
  const { tokenizerFile, path } = model.folder;
  if (tokenizerFile === undefined) throw new QuerentError('QRT_TOKENIZER', `${path} has no tokenizer.json.`, { fix: "Copy it into the folder: Python's `AutoTokenizer` saves one." });
  const tokenizer = await loadTokenizer(tokenizerFile);
  const scored: Scored[] = [];
  for (const text of texts) {
    signal?.throwIfAborted();
    const ids = idsOf(tokenizer, text, model);
    if (ids.length < 2) continue;
    const labels = ids.slice(1);
    const out = await score.run({ input_ids: int64([1, 1], ids.slice(0, 1)), attention_mask: int64([1, 1], [1]), labels: int64([1, labels.length], labels) });
    const [logProbs, logits] = [out['token_log_probs']?.data, out['logits']];
    if (!(logProbs instanceof Float32Array) || logits === undefined || !(logits.data instanceof Float32Array)) throw new QuerentError('QRT_ENGINE_RUN', 'The scoring graph gave no float32 logits.');
    scored.push({ logProbs, logits: logits.data, vocabulary: logits.shape.at(-1) ?? 0 });
  }
  if (scored.length === 0) throw new QuerentError('QRT_USAGE', 'No text has two tokens.', { fix: 'Give at least one sentence.' });
  return scored;
}

function idsOf(tokenizer: Tokenizer, text: string, { plugin, config }: TextModel): readonly number[] {
  const vocabulary = plugin.vocabulary(config);
  const ids = tokenizer.encode(text, { maxLength: MOST_TOKENS });
  const stranger = ids.find((id) => id >= vocabulary);
  if (stranger === undefined) return ids;
  throw new QuerentError('QRT_TOKENIZER', `The tokenizer gave the id ${stranger}; the language model has ${vocabulary}.`, { fix: 'Is tokenizer.json from another model?' });
}

function compare(exact: readonly Scored[], held: readonly Scored[]): Omit<PrecisionFigures, 'precision' | 'weightBytes'> {
  let [loss, tokens, difference, size, divergence, agreed] = [0, 0, 0, 0, 0, 0];
  held.forEach(({ logProbs, logits, vocabulary }, text) => {
    const reference = exact[text]?.logits ?? logits;
    for (const logProb of logProbs) loss -= logProb;
    tokens += logProbs.length;
    for (let i = 0; i < logits.length; i++) {
      difference += ((logits[i] as number) - (reference[i] as number)) ** 2; // as long as each other
      size += (reference[i] as number) ** 2;
    }
    for (let row = 0; row < logProbs.length; row++) {
      const [p, q] = [distribution(reference, row * vocabulary, vocabulary), distribution(logits, row * vocabulary, vocabulary)];
      for (let i = 0; i < vocabulary; i++) divergence += Math.exp(p.logs[i] as number) * ((p.logs[i] as number) - (q.logs[i] as number));
      if (p.best === q.best) agreed++;
    }
  });
  return { perplexity: Math.exp(loss / tokens), logitError: Math.sqrt(difference / size), divergence: Math.max(0, divergence / tokens), agreement: agreed / tokens };
}

/** Log-probabilities of one position, and the likeliest token. */
function distribution(logits: Float32Array, from: number, count: number): { readonly logs: Float64Array; readonly best: number } {
  let best = 0;
  for (let i = 1; i < count; i++) if ((logits[from + i] as number) > (logits[from + best] as number)) best = i;
  const most = logits[from + best] as number;
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.exp((logits[from + i] as number) - most);
  const offset = most + Math.log(sum);
  return { logs: Float64Array.from({ length: count }, (_, i) => (logits[from + i] as number) - offset), best };
}

/** What the decoding graph's weights take, bytes that two names share counted once. */
function weightBytes({ held, graphs }: TextModel): number {
  const places = new Map<string, number>();
  for (const name of held.rewrite(graphs.decode).parameters.keys()) {
    const data = held.available.get(name);
    if (data !== undefined) places.set(isFileTensor(data) ? `${data.file}:${data.offset}` : name, isFileTensor(data) ? data.byteLength : data.data.byteLength);
  }
  return [...places.values()].reduce((sum, bytes) => sum + bytes, 0);
}
