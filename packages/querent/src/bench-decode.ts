/** Tokens a second of a language model by itself: what `bench/decode.bench.ts` runs beside llama.cpp. */
import { performance } from 'node:perf_hooks';
import type { Engine, PluginRegistry } from '@querent/core';
import { int64 } from '@querent/core';
import { loadTokenizer } from '@querent/hub';
import { generate } from '@querent/llm-adapters';
import type { Precision } from './precision.ts';
import { openTextModel } from './text-model.ts';

export interface BenchDecodeOptions {
  readonly registry: PluginRegistry;
  /** In place: the loop runs in this thread. */
  readonly engine: Engine;
  readonly precision?: Precision;
  readonly prompt: string;
  readonly newTokens: number;
  /** Runs, of which the fastest counts: other work on the machine only slows. */
  readonly rounds: number;
}

export interface BenchDecodeResult {
  readonly loadSeconds: number;
  readonly prefillMs: number;
  readonly tokensPerSecond: number;
  readonly text: string;
}

/** Greedy decoding of `newTokens` tokens, batch 1; end tokens are read over. The first token is the prefill's. */
export async function benchDecode(model: string, { registry, engine, precision, prompt, newTokens, rounds }: BenchDecodeOptions): Promise<BenchDecodeResult> {
  const started = performance.now();
  const { folder, plugin, config, decoding } = await openTextModel(model, registry, engine, precision);
  await using executables = await decoding();
  const loadSeconds = (performance.now() - started) / 1000;
  const tokenizer = await loadTokenizer(folder.tokenizerFile ?? model);
  const ids = tokenizer.encode(prompt);
  const tokens = { ...plugin.specialTokens(config), eos: [] };
  let [prefillMs, tokensPerSecond, text] = [Infinity, 0, ''];
  for (let round = 0; round < rounds; round++) {
    const out: number[] = [];
    const begun = performance.now();
    let first = begun;
    for await (const event of generate(executables, { promptIds: int64([1, ids.length], ids), tokens, options: { maxNewTokens: newTokens } })) {
      if (event.type !== 'token-delta') continue;
      if (out.push(event.id) === 1) first = performance.now();
    }
    prefillMs = Math.min(prefillMs, first - begun);
    tokensPerSecond = Math.max(tokensPerSecond, (1000 * (out.length - 1)) / (performance.now() - first));
    text = tokenizer.decode(out);
  }
  return { loadSeconds, prefillMs, tokensPerSecond, text };
}
