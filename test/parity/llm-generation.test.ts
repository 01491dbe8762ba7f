/** Decoding against transformers: ids exact, beam scores to 1e-4. */
import type { LanguageModelPlugin } from '@querent/core';
import { int64 } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import type { OptConfig } from '@querent/llm-adapters';
import { collect, decodeGraph, fromGenerationConfig, generate, languageModels, opt, prefillGraph } from '@querent/llm-adapters';
import { describe, expect, it } from 'vitest';
import { need, readFixture } from './llm-fixture.ts';

/** Up to the end token: what follows is filling, which differs between greedy and beams in transformers. */
function upToEnd(ids: readonly number[], eos: readonly number[]): readonly number[] {
  const end = ids.findIndex((id) => eos.includes(id));
  return end < 0 ? ids : ids.slice(0, end + 1);
}

describe.each(['llm-llama', 'llm-opt', 'llm-opt-350m-style', 'llm-t5-gated', 'llm-t5-relu-tied'])('generation (%s)', (name) => {
  it('says the same tokens as transformers, greedily and with beams', async () => {
    const fixture = await readFixture<{ readonly model_type: string }>(name);
    const plugin = languageModels.find((model) => model.name === fixture.config.model_type) as LanguageModelPlugin;
    await using engine = createOnnxEngine({ threads: 1 });
    const executables = {
      prefill: await engine.compile(prefillGraph(plugin, fixture.config, { softPrompt: false }), fixture.parameters),
      decode: await engine.compile(decodeGraph(plugin, fixture.config), fixture.parameters),
    };
    const promptIds = need(fixture.inputs, 'input_ids');
    const tokens = plugin.specialTokens(fixture.config);
    const skip = plugin.architecture === 'decoder-only' ? promptIds.shape[1]! : 1; // the prompt, or the start token

    for (const run of fixture.generations) {
      const options = fromGenerationConfig(run.options);
      const args = { promptIds, promptMask: need(fixture.inputs, 'attention_mask'), tokens, options };
      const texts = (await collect(generate(executables, args))).flat();
      expect(texts.map((text) => text.ids), run.name).toEqual(run.sequences.map((ids) => upToEnd(ids.slice(skip), tokens.eos)));
      run.sequences_scores?.forEach((score, i) => expect(texts[i]!.score, run.name).toBeCloseTo(score, 4));
    }
  });
});

describe('generation behind a soft prompt (blip2-opt)', () => {
  it('says the same tokens as transformers in all decoding runs, repetition counted over placeholders and padding', async () => {
    const fixture = await readFixture<{ readonly text_config: OptConfig; readonly num_query_tokens: number }>('blip2-opt');
    const config = fixture.config.text_config;
    await using engine = createOnnxEngine({ threads: 1 });
    const at = { prefix: 'language_model' };
    const executables = {
      prefill: await engine.compile(prefillGraph(opt, config, at), fixture.parameters),
      decode: await engine.compile(decodeGraph(opt, config, at), fixture.parameters),
    };
    const queries = fixture.config.num_query_tokens;
    const ids = need(fixture.inputs, 'input_ids');
    const [batch, width] = ids.shape as [number, number];
    const history = Array.from({ length: batch }, (_, row) => Array.from(ids.data.slice(row * width, (row + 1) * width), Number));
    // transformers puts padding before the image placeholders; behind them it is masked just the same.
    const image = Number(ids.data[0]);
    const texts = history.map((row) => row.filter((id) => id !== image));
    const promptIds = int64([batch, width - queries], texts.flat());
    const promptMask = int64([batch, width - queries], texts.flat().map((id) => (id === config.pad_token_id ? 0 : 1)));
    const tokens = opt.specialTokens(config);

    expect(fixture.generations.length).toBe(14);
    for (const run of fixture.generations) {
      const args = { softPrompt: need(fixture.expected, 'language_projection'), promptIds, promptMask, history, tokens, options: fromGenerationConfig(run.options) };
      const found = (await collect(generate(executables, args))).flat();
      expect(found.map((text) => text.ids), run.name).toEqual(run.sequences.map((sequence) => upToEnd(sequence.slice(width), tokens.eos)));
      run.sequences_scores?.forEach((score, i) => expect(Math.abs(found[i]!.score - score), run.name).toBeLessThan(1e-4 * Math.max(1, Math.abs(score))));
    }
  });
});
