/** Decoding against transformers: ids exact, beam scores to 1e-4. */
import type { LanguageModelPlugin } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { collect, decodeGraph, fromGenerationConfig, generate, languageModels, prefillGraph } from '@querent/llm-adapters';
import { describe, expect, it } from 'vitest';
import { need, readFixture } from './llm-fixture.ts';

/** Up to the end token: what follows is filling, which differs between greedy and beams in transformers. */
function upToEnd(ids: readonly number[], eos: readonly number[]): readonly number[] {
  const end = ids.findIndex((id) => eos.includes(id));
  return end < 0 ? ids : ids.slice(0, end + 1);
}

describe.each(['llm-llama', 'llm-t5-gated', 'llm-t5-relu-tied'])('generation (%s)', (name) => {
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
