/** Texts as ids: prompts of a language model, answers to score, and texts that the bridge reads. */
import { padRows } from '@querent/hub';
import type { LanguageModelPlugin, SpecialTokens, TensorData } from '@querent/core';
import { QuerentError } from '@querent/core';
import type { Tokenizer } from '@querent/hub';

/** Who reads a prompt. */
export interface PromptReader {
  readonly plugin: Pick<LanguageModelPlugin, 'framePrompt' | 'promptPadding'>;
  readonly config: unknown;
}

/** int64 [rows, tokens] each. */
export interface TextFeeds {
  readonly ids: TensorData<'int64'>;
  readonly mask: TensorData<'int64'>;
}

/**
 * Ids that the model has rows for: a tokenizer of another model would otherwise fail deep inside a run.
 *
 * @throws QuerentError QRT_TOKENIZER.
 */
export function assertIds(ids: TensorData<'int64'>, vocabulary: number, reader: string): void {
  for (const id of ids.data) {
    if (id < vocabulary) continue;
    throw new QuerentError('QRT_TOKENIZER', `The tokenizer gave the id ${id}; ${reader} has ${vocabulary}.`, {
      fix: "Is tokenizer.json from another model? Copy the one that belongs to these weights.",
      details: { id: Number(id), vocabulary },
    });
  }
}

/** Rows of unequal length as one rectangle; `filler` stands where the mask is 0. */
export function rectangle(rows: readonly (readonly number[])[], filler: number, side: 'left' | 'right'): TextFeeds {
  const { ids, mask, width } = padRows(rows, filler, side);
  const shape = [rows.length, width];
  return { ids: { dtype: 'int64', shape, data: ids }, mask: { dtype: 'int64', shape, data: mask } };
}

/**
 * Prompts with the special tokens that the tokenizer puts around a text: a decoder-only model's begins a text, T5's ends it. An
 * empty prompt is just these; undefined when there are none at all. A model that wants others has the last word.
 */
export function promptFeeds(
  tokenizer: Tokenizer,
  prompts: readonly string[],
  tokens: SpecialTokens,
  { plugin, config }: PromptReader,
): TextFeeds | undefined {
  const side = plugin.promptPadding;
  const rows = prompts.map((prompt) => {
    const ids = tokenizer.encode(prompt, { addSpecialTokens: true });
    return plugin.framePrompt?.(ids, config) ?? ids;
  });
  if (rows.every((row) => row.length === 0)) return undefined;
  return rectangle(rows, fillerOf(tokenizer, tokens), side);
}

/**
 * What a decoder-only model has read, as repetition penalty and n-gram blocking see it in transformers: padding, then an id for each
 * query of the image, then the prompt.
 */
export function historyRows(prompt: TextFeeds | undefined, rows: number, queries: number, imageToken: number | undefined): readonly (readonly number[])[] {
  const image = imageToken === undefined ? [] : new Array<number>(queries).fill(imageToken);
  if (prompt === undefined) return Array.from({ length: rows }, () => image);
  const width = prompt.ids.shape[1] ?? 0;
  return Array.from({ length: rows }, (_, row) => {
    const ids = Array.from(prompt.ids.data.slice(row * width, (row + 1) * width), Number);
    const padding = prompt.mask.data.slice(row * width, (row + 1) * width).findIndex((one) => one === 1n);
    return [...ids.slice(0, Math.max(0, padding)), ...image, ...ids.slice(Math.max(0, padding))];
  });
}

/** Answers as labels: the text's own tokens and the end token, padded with -100. */
export function labelRows(tokenizer: Tokenizer, answers: readonly string[], tokens: SpecialTokens): TensorData<'int64'> {
  const end = tokens.eos.slice(0, 1);
  return rectangle(answers.map((answer) => [...tokenizer.encode(answer, { addSpecialTokens: false }), ...end]), -100, 'right').ids;
}

/** Texts for the bridge: `[CLS] … [SEP]`, whether or not the tokenizer's own template says so. */
export function bridgeFeeds(tokenizer: Tokenizer, texts: readonly string[], maxTokens: number): TextFeeds {
  const { cls, sep, pad } = tokenizer.specials;
  const rows = texts.map((text) => {
    const framed = tokenizer.encode(text, { addSpecialTokens: true, maxLength: maxTokens });
    if (cls === undefined || framed[0] === cls) return framed;
    const end = sep === undefined ? [] : [sep];
    return [cls, ...tokenizer.encode(text, { addSpecialTokens: false, maxLength: Math.max(0, maxTokens - 1 - end.length) }), ...end];
  });
  return rectangle(rows, pad ?? 0, 'right');
}

function fillerOf(tokenizer: Tokenizer, tokens: SpecialTokens): number {
  return tokens.pad ?? tokenizer.specials.pad ?? tokens.eos[0] ?? 0;
}
