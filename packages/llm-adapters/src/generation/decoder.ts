/** A running decode: the prefill's result, then one token per row and step. Knows positions, masks and memory, and no model. */
import type { Executable, SpecialTokens, TensorData } from '@querent/core';
import { QuerentError, int64, zeros } from '@querent/core';
import { Memory, spread } from './memory.ts';
import { place } from './placement.ts';

/** What the model is given to read; the names are those of `prefillGraph`. */
export interface PromptFeeds {
  /** float32 [batch, queries, hidden] */
  readonly softPrompt?: TensorData;
  /** int64 [batch, prompt] */
  readonly promptIds?: TensorData;
  /** int64 [batch, prompt], 1 = read; all ones when absent. */
  readonly promptMask?: TensorData;
}

/** The two compiled graphs of one model, or twice the one that does both (`extendGraph`). */
export interface DecodingExecutables {
  readonly prefill: Executable;
  readonly decode: Executable;
}

/** How many rows a prompt has. */
export function batchOf(prompt: PromptFeeds): number {
  const batch = (prompt.softPrompt ?? prompt.promptIds)?.shape[0];
  if (batch === undefined || batch < 1) throw new QuerentError('QRT_USAGE', 'Nothing to generate from: give softPrompt, promptIds, or both, with at least one row.');
  return batch;
}

export class Decoder {
  readonly #decode: Executable;
  readonly #memory: Memory;
  readonly #rows: number;
  /** Running rows per row of the batch. */
  readonly #width: number;
  /** The row of the graph's batch, and so of the memory, that each running row has. */
  #places: readonly number[];
  /** int64 [rows, maxSlots]: which slots hold something. */
  readonly #slotMask: Uint8Array;
  readonly #maxSlots: number;
  /** Real tokens of each row so far. */
  readonly #lengths: Int32Array;
  readonly #encoderMask: TensorData | undefined;
  /** A graph that could read a soft prompt is told that there is none. */
  readonly #noQueries: Readonly<Record<string, TensorData>>;
  #slot: number;
  /** Scores for the first new token, one row of the batch each; undefined where decoding begins with a start token. */
  readonly #first: readonly Float32Array[] | undefined;
  readonly #start: number | undefined;
  /** Where a step writes its scores: each step's are gone with the next. */
  readonly #scores: Readonly<Record<string, TensorData>>;

  private constructor(executables: DecodingExecutables, prompt: PromptFeeds, result: Readonly<Record<string, TensorData>>, width: number, maxNewTokens: number, tokens: SpecialTokens) {
    const batch = batchOf(prompt);
    this.#decode = executables.decode;
    this.#rows = batch * width;
    this.#width = width;
    const vocabulary = executables.decode.outputs.find(({ name }) => name === 'logits')?.shape[1];
    this.#scores = typeof vocabulary === 'number' ? { logits: zeros('float32', [this.#rows, vocabulary]) } : {};
    this.#noQueries = softPromptFeed(executables.decode, this.#rows, undefined);
    this.#places = Array.from({ length: this.#rows }, (_, row) => row);
    const logits = result['logits'];
    const hasEncoder = executables.decode.inputs.some((port) => port.name === 'encoder_attention_mask');
    // Who has read what: an encoder-decoder's decoder may have read the prompt and look at the soft prompt (BLIP), or have read nothing (T5).
    const { softPrompt, ...text } = prompt;
    const read = logits === undefined ? undefined : sourceMask(hasEncoder ? text : prompt, batch);
    const promptSlots = read?.[0]!.length ?? 0;
    this.#maxSlots = promptSlots + maxNewTokens;
    this.#slot = promptSlots;
    this.#memory = new Memory(executables.decode, result, { rows: this.#rows, width, promptSlots, maxSlots: this.#maxSlots });
    this.#slotMask = new Uint8Array(this.#rows * this.#maxSlots);
    this.#lengths = new Int32Array(this.#rows);
    if (logits !== undefined && read !== undefined) {
      for (let row = 0; row < this.#rows; row++) {
        const source = read[Math.floor(row / width)]!;
        this.#slotMask.set(source, row * this.#maxSlots);
        this.#lengths[row] = source.reduce((a, b) => a + b, 0);
      }
      this.#first = rowsOf(spread(logits, width));
    } else {
      this.#start = tokens.decoderStart;
    }
    if (hasEncoder) {
      const source = sourceMask(read === undefined || softPrompt === undefined ? prompt : { softPrompt }, batch);
      this.#encoderMask = int64([this.#rows, source[0]!.length], source.flatMap((row) => Array.from({ length: width }, () => Array.from(row)).flat()));
    }
  }

  /**
   * Runs the prefill.
   * @param width running rows per row of the prompt
   */
  static async open(executables: DecodingExecutables, prompt: PromptFeeds, width: number, maxNewTokens: number, tokens: SpecialTokens, signal: AbortSignal): Promise<Decoder> {
    const { softPrompt, promptIds } = prompt;
    const feeds: Record<string, TensorData> = {};
    if (softPrompt !== undefined) feeds['soft_prompt'] = softPrompt;
    if (promptIds !== undefined) {
      feeds['input_ids'] = promptIds;
      feeds['attention_mask'] = prompt.promptMask ?? int64(promptIds.shape, new BigInt64Array(promptIds.data.length).fill(1n));
    }
    const result = isJoint(executables.prefill)
      ? await readPrompt(executables.prefill, prompt, signal)
      : await executables.prefill.run(feeds, { signal });
    return new Decoder(executables, prompt, result, width, maxNewTokens, tokens);
  }

  /** Scores for the first new token, [vocabulary] per running row. */
  async begin(signal: AbortSignal): Promise<readonly Float32Array[]> {
    if (this.#first !== undefined) return this.#first;
    if (this.#start === undefined) {
      throw new QuerentError('QRT_USAGE', 'The decoder of an encoder-decoder needs a start token and the model names none.', { fix: 'Set decoder_start_token_id in config.json.' });
    }
    return this.step(Array.from({ length: this.#rows }, () => this.#start!), undefined, signal);
  }

  /** Feeds one token per row, after rows have gone on with the memory of their parents; scores for the next, which are good until then. */
  async step(ids: readonly number[], parents: readonly number[] | undefined, signal: AbortSignal): Promise<readonly Float32Array[]> {
    if (parents !== undefined) {
      const { places, moves } = place(parents, this.#places, this.#width);
      this.#memory.move(moves, this.#slot);
      this.#places = places;
    }
    this.#memory.reach(this.#slot);
    const rows = this.#rows;
    const { slots } = this.#memory;
    const mask = new BigInt64Array(rows * slots);
    for (let row = 0; row < rows; row++) {
      this.#slotMask[row * this.#maxSlots + this.#slot] = 1;
      for (let slot = 0; slot <= this.#slot; slot++) mask[row * slots + slot] = BigInt(this.#slotMask[row * this.#maxSlots + slot]!);
    }
    const placed = new Array<number>(rows);
    ids.forEach((id, row) => (placed[this.#places[row]!] = id));
    const { feeds, into } = this.#memory.ports();
    const result = await this.#decode.run(
      {
        ...feeds,
        ...this.#noQueries,
        input_ids: int64([rows, 1], placed),
        position_ids: int64([rows, 1], this.#lengths),
        attention_mask: int64([rows, slots], mask),
        write_indices: int64([rows], Array.from({ length: rows }, () => this.#slot)),
        ...(this.#encoderMask === undefined ? {} : { encoder_attention_mask: this.#encoderMask }),
      },
      { into: { ...into, ...this.#scores }, signal },
    );
    this.#slot++;
    for (let row = 0; row < rows; row++) this.#lengths[row]!++;
    const scores = rowsOf(result['logits']);
    return this.#places.map((at) => scores[at]!);
  }
}

/** Is this graph both at once? A prefill by itself is not told where to write. */
function isJoint(executable: Executable): boolean {
  return executable.inputs.some((port) => port.name === 'write_indices');
}

function softPromptFeed(executable: Executable, rows: number, softPrompt: TensorData | undefined): Record<string, TensorData> {
  const width = executable.inputs.find((port) => port.name === 'soft_prompt')?.shape[2];
  if (typeof width !== 'number') return {};
  return { soft_prompt: softPrompt ?? { dtype: 'float32', shape: [rows, 0, width], data: new Float32Array(0) } };
}

/** The prompt as a joint graph reads it: after nothing, into caches of its own length. */
async function readPrompt(executable: Executable, prompt: PromptFeeds, signal: AbortSignal): Promise<Readonly<Record<string, TensorData>>> {
  const rows = batchOf(prompt);
  const masks = sourceMask(prompt, rows);
  const slots = masks[0]!.length;
  const positions = masks.map((mask) => {
    let before = 0;
    return Array.from(mask, (isRead) => (isRead === 0 ? -1 : before++));
  });
  const caches = executable.inputs.flatMap(({ name, shape: [, heads, , headWidth] }): [string, TensorData][] => {
    if (!name.startsWith('past_key_values.') || typeof heads !== 'number' || typeof headWidth !== 'number') return [];
    return [[name.slice('past_key_values.'.length), { dtype: 'float32', shape: [rows, heads, slots, headWidth], data: new Float32Array(rows * heads * slots * headWidth) }]];
  });
  return executable.run(
    {
      ...Object.fromEntries(caches.map(([name, tensor]) => [`past_key_values.${name}`, tensor])),
      ...softPromptFeed(executable, rows, prompt.softPrompt),
      input_ids: prompt.promptIds ?? int64([rows, 0], []),
      position_ids: int64([rows, slots], positions.flat()),
      attention_mask: int64([rows, slots], masks.flatMap((mask) => Array.from(mask))),
      write_indices: int64([rows], new Array<number>(rows).fill(0)),
    },
    { into: Object.fromEntries(caches.map(([name, tensor]) => [`present.${name}`, tensor])), signal },
  );
}

/** [soft prompt ; prompt]'s mask, a row of zeros and ones each. */
function sourceMask(prompt: PromptFeeds, batch: number): readonly Uint8Array[] {
  const queries = prompt.softPrompt?.shape[1] ?? 0;
  const tokens = prompt.promptIds?.shape[1] ?? 0;
  return Array.from({ length: batch }, (_, row) => {
    const mask = new Uint8Array(queries + tokens).fill(1);
    const given = prompt.promptIds === undefined ? undefined : prompt.promptMask;
    if (given !== undefined) for (let i = 0; i < tokens; i++) mask[queries + i] = Number(given.data[row * tokens + i]) === 0 ? 0 : 1;
    return mask;
  });
}

/** Logits [rows, vocabulary] as rows. */
function rowsOf(logits: TensorData | undefined): readonly Float32Array[] {
  if (logits === undefined || !(logits.data instanceof Float32Array) || logits.shape.length !== 2) {
    throw new QuerentError('QRT_USAGE', `A decoding graph must give float32 logits [batch, vocabulary]; it gave ${logits === undefined ? 'none' : `${logits.dtype} [${logits.shape.join(', ')}]`}.`);
  }
  const [rows, vocabulary] = logits.shape as [number, number];
  const { data } = logits;
  return Array.from({ length: rows }, (_, row) => data.subarray(row * vocabulary, (row + 1) * vocabulary));
}
