/** Verifies decoding: token ids of every run exactly, beam scores, the logits of each greedy step, and sampling's distributions. */
import type { LanguageModelPlugin, TensorData } from '@querent/core';
import { QuerentError, float32 } from '@querent/core';
import { isJsonObject } from '@querent/hub';
import type { GenerateArgs, GenerationOptions } from '@querent/llm-adapters';
import { collect, decodeGraph, fromGenerationConfig, generate, prefillGraph, resolveOptions, scoreProcessor, softmax } from '@querent/llm-adapters';
import { check } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import { LOOSE, compareExactly, compareTensors } from './report.ts';
import { verifyEngine, weightsFor } from './run-graph.ts';

/** One decoding run of `expected.json`. */
interface ExpectedRun {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly sequences: readonly (readonly number[])[];
  readonly scores: readonly number[] | undefined;
}

/** What a language model is given to read, for all runs. */
export interface DecodingCase {
  readonly plugin: LanguageModelPlugin;
  readonly config: unknown;
  /** Where it stands in the checkpoint; the root when absent. */
  readonly prefix?: string;
  readonly prompt: Omit<GenerateArgs, 'tokens' | 'options'>;
  /** Ids in front of the new ones in `sequences`. */
  readonly skip: number;
}

const isIds = (value: unknown): value is readonly number[] => Array.isArray(value) && value.every((id) => typeof id === 'number');

function runOf(value: unknown, name?: string): ExpectedRun {
  const sequences = isJsonObject(value) ? value['sequences'] : undefined;
  if (!isJsonObject(value) || !Array.isArray(sequences) || !sequences.every(isIds)) {
    throw new QuerentError('QRT_CONFIG_INVALID', `expected.json: the decoding run ${JSON.stringify(value).slice(0, 80)} has no sequences.`, { fix: 'The fixture is not complete: make it again.' });
  }
  const options = value['options'];
  const scores = value['sequences_scores'];
  return { name: name ?? String(value['name']), options: isJsonObject(options) ? options : {}, sequences, scores: isIds(scores) ? scores : undefined };
}

/** Up to the end token: what follows is filling, which differs between greedy and beams in transformers. */
function upToEnd(ids: readonly number[], ends: readonly number[]): readonly number[] {
  const end = ids.findIndex((id) => ends.includes(id));
  return end < 0 ? ids : ids.slice(0, end + 1);
}

/** All runs of the fixture; with greedy decoding's logits when they are expected. */
export async function verifyGenerations(fixture: Fixture, decoding: DecodingCase): Promise<void> {
  const runs = Array.isArray(fixture.notes['generations']) ? fixture.notes['generations'].map((run) => runOf(run)) : [];
  await verifyRuns(fixture, decoding, runs);
  const { tokens } = { tokens: decoding.plugin.specialTokens(decoding.config) };
  verifyWarpers(fixture, tokens.eos);
}

/** `{ sequences }` under a key of its own: decoding without a prompt. */
export async function verifyNamedRun(fixture: Fixture, decoding: DecodingCase, key: string, options: GenerationOptions): Promise<void> {
  if (fixture.notes[key] === undefined) return;
  const run = runOf(fixture.notes[key], key);
  await verifyRuns(fixture, decoding, [run], { ...options, maxNewTokens: Math.max(...run.sequences.map((ids) => ids.length)) - decoding.skip });
}

async function verifyRuns(fixture: Fixture, decoding: DecodingCase, runs: readonly ExpectedRun[], given?: GenerationOptions): Promise<void> {
  if (runs.length === 0) return;
  const { plugin, config, prefix, prompt, skip } = decoding;
  const tokens = plugin.specialTokens(config);
  const at = prefix === undefined ? {} : { prefix };
  const prefillOptions = { ...at, softPrompt: prompt.softPrompt !== undefined, prompt: prompt.promptIds !== undefined };
  const [prefill, decode] = [prefillGraph(plugin, config, prefillOptions), decodeGraph(plugin, config, at)];
  await using engine = await verifyEngine(fixture);
  await using prefillExecutable = await engine.compile(prefill, weightsFor(prefill, fixture));
  await using decodeExecutable = await engine.compile(decode, weightsFor(decode, fixture));
  const executables = { prefill: prefillExecutable, decode: decodeExecutable };

  for (const run of runs) {
    const options = given ?? fromGenerationConfig(run.options, 'whole');
    const steps: Float32Array[][] = [];
    const record = (scores: Float32Array, _sequence: readonly number[], generated: number, row: number): void => {
      (steps[row] ??= [])[generated] = scores.slice();
    };
    const isGreedy = run.name === 'greedy' && fixture.expected.has('greedy_step_logits');
    const texts = (await collect(generate(executables, { ...prompt, tokens, options }, undefined, isGreedy ? { process: record } : {}))).flat();
    const expected = run.sequences.map((ids) => upToEnd(ids.slice(skip), tokens.eos));
    fixture.outputs.push(compareExactly(`generations/${run.name}`, expected.map((ids, i) => ({ actual: texts[i]?.ids, expected: ids, of: `sequence ${i}` }))));
    if (run.scores !== undefined) {
      const [actual, wanted] = [texts.map(({ score }) => score), run.scores];
      fixture.outputs.push(compareTensors(`generations/${run.name}/scores`, float32([actual.length], actual), float32([wanted.length], wanted), { tolerance: LOOSE }));
    }
    if (isGreedy) checkSteps(fixture, steps, expected);
  }
}

/** Logits [batch, steps, vocabulary]; a row that has ended is not compared any longer. */
function checkSteps(fixture: Fixture, steps: readonly (readonly Float32Array[])[], sequences: readonly (readonly number[])[]): void {
  const expected = fixture.expected.get('greedy_step_logits');
  const [batch = 0, count = 0, vocabulary = 0] = expected?.shape ?? [];
  const data = new Float32Array(batch * count * vocabulary);
  const counts = new Uint8Array(batch * count);
  for (let row = 0; row < batch; row++) {
    for (let step = 0; step < Math.min(count, sequences[row]?.length ?? 0); step++) {
      const scores = steps[row]?.[step];
      if (scores?.length === vocabulary) data.set(scores, (row * count + step) * vocabulary);
      counts[row * count + step] = 1;
    }
  }
  check(fixture, 'greedy_step_logits', float32([batch, count, vocabulary], data), { counts });
}

/** `warp_probs/temp_0.7_top_k_20`: what sampling draws from, after these processors, from `warp_logits`. */
function verifyWarpers(fixture: Fixture, eos: readonly number[]): void {
  const logits = fixture.inputs.get('warp_logits');
  if (logits === undefined) return;
  for (const name of fixture.expected.keys()) {
    if (!name.startsWith('warp_probs/')) continue;
    const options = warperOptions(name.slice('warp_probs/'.length));
    if (options === undefined) fixture.notCompared.push({ name, reason: 'its name does not say which warpers it wants' });
    else check(fixture, name, warped(logits, options, eos));
  }
}

function warped(logits: TensorData, options: GenerationOptions, eos: readonly number[]): TensorData {
  const process = scoreProcessor(resolveOptions({ ...options, doSample: true }, { eos }));
  const vocabulary = logits.shape.at(-1) ?? 1;
  const all = Float32Array.from(logits.data, Number);
  for (let start = 0; start < all.length; start += vocabulary) {
    const row = all.subarray(start, start + vocabulary);
    process(row, [], 0);
    row.set(softmax(row));
  }
  return float32(logits.shape, all);
}

const WARPERS: Readonly<Record<string, keyof GenerationOptions>> = { temp: 'temperature', top_k: 'topK', top_p: 'topP', typical: 'typicalP', min_p: 'minP' };

function warperOptions(chain: string): GenerationOptions | undefined {
  const found = [...chain.matchAll(/(temp|top_k|top_p|typical|min_p)_([\d.]+)(?:_|$)/g)];
  if (found.map(([whole]) => whole).join('') !== chain) return undefined;
  return Object.fromEntries(found.map(([, name = '', value]) => [WARPERS[name], Number(value)]));
}
