/** Decoding against transformers: ids exact, beam scores to 1e-4. */
import type { LanguageModelPlugin, TensorData } from '@querent/core';
import { int64 } from '@querent/core';
import { createOnnxEngine, createOnnxHost } from '@querent/engine-onnx';
import { createGraph } from '@querent/graph';
import type { LlamaConfig } from '@querent/llm-adapters';
import { collect, decodeGraph, fromGenerationConfig, generate, generateOn, languageModels, llama, prefillGraph } from '@querent/llm-adapters';
import { describe, expect, it } from 'vitest';
import { need, readFixture } from './llm-fixture.ts';

/** Up to the end token: what follows is filling, which differs between greedy and beams in transformers. */
function upToEnd(ids: readonly number[], eos: readonly number[]): readonly number[] {
  const end = ids.findIndex((id) => eos.includes(id));
  return end < 0 ? ids : ids.slice(0, end + 1);
}

describe.each(['llm-gpt2', 'llm-llama', 'llm-mistral', 'llm-opt', 'llm-opt-350m-style', 'llm-qwen2', 'llm-t5-gated', 'llm-t5-relu-tied'])('generation (%s)', (name) => {
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

interface VisionLanguageConfig {
  readonly text_config: { readonly model_type: string };
  readonly num_query_tokens: number;
}

describe.each(['blip2-opt', 'blip2-t5', 'instructblip-llama'])('behind a soft prompt (%s)', (name) => {
  it('the loss is that of transformers, and so are the tokens of all decoding runs', async () => {
    const fixture = await readFixture<VisionLanguageConfig>(name);
    const config = fixture.config.text_config;
    const plugin = languageModels.find((model) => model.name === config.model_type) as LanguageModelPlugin;
    const isDecoderOnly = plugin.architecture === 'decoder-only';
    const softPrompt = need(fixture.expected, 'language_projection');
    const ids = need(fixture.inputs, 'input_ids');
    const [batch, width] = ids.shape as [number, number];
    const row = (tensor: TensorData, i: number): number[] => Array.from(tensor.data.slice(i * width, (i + 1) * width), Number);
    const rows = Array.from({ length: batch }, (_, i) => i);
    await using engine = createOnnxEngine({ threads: 1 });
    const at = { prefix: 'language_model' };

    // transformers puts padding before the image placeholders; behind them it is masked just the same.
    const image = Number(ids.data[0]);
    const isText = rows.map((i) => row(ids, i).map((id) => id !== image));
    const text = (tensor: TensorData): TensorData => int64([batch, width - fixture.config.num_query_tokens], rows.flatMap((i) => row(tensor, i).filter((_, j) => isText[i]![j])));
    const [promptIds, promptMask] = [text(ids), text(need(fixture.inputs, 'attention_mask'))];

    const g = createGraph('loss');
    const prompt = { softPrompt: g.input('soft_prompt', 'float32', ['batch', 'queries', plugin.width(config)]) };
    const labels = g.input('labels', 'int64', ['batch', 'labels']);
    const read = isDecoderOnly ? prompt : { ...prompt, promptIds: g.input('ids', 'int64', ['batch', 'prompt']), promptMask: g.input('mask', 'int64', ['batch', 'prompt']) };
    g.output('loss', plugin.loss(g.scope('language_model'), { ...read, labels }, config).loss);
    const model = await engine.compile(g.graph, fixture.parameters);
    // Labels of the decoder-only fixtures are the text itself, padded on the left; a target is padded on the right.
    const target = isDecoderOnly ? int64(promptIds.shape, rows.flatMap((i) => toRight(row(need(fixture.inputs, 'labels'), i).filter((_, j) => isText[i]![j])))) : need(fixture.inputs, 'labels');
    const { loss } = await model.run({ soft_prompt: softPrompt, labels: target, ...(isDecoderOnly ? {} : { ids: promptIds, mask: promptMask }) });
    expect(loss?.data[0]).toBeCloseTo(Number(need(fixture.expected, 'loss').data[0]), 4);

    const executables = {
      prefill: await engine.compile(prefillGraph(plugin, config, at), fixture.parameters),
      decode: await engine.compile(decodeGraph(plugin, config, at), fixture.parameters),
    };
    const tokens = plugin.specialTokens(config);
    const skip = isDecoderOnly ? width : 1;
    const history = isDecoderOnly ? { history: rows.map((i) => row(ids, i)) } : {}; // repetition is counted over placeholders and padding too
    expect(fixture.generations.length).toBe(14);
    for (const run of fixture.generations) {
      const args = { softPrompt, promptIds, promptMask, ...history, tokens, options: fromGenerationConfig(run.options) };
      const found = (await collect(generateOn(engine, executables, args))).flat();
      expect(found.map((one) => one.ids), run.name).toEqual(run.sequences.map((sequence) => upToEnd(sequence.slice(skip), tokens.eos)));
      run.sequences_scores?.forEach((score, i) => expect(Math.abs(found[i]!.score - score), run.name).toBeLessThan(1e-4 * Math.max(1, Math.abs(score))));
    }
  });
});

function toRight(labels: readonly number[]): number[] {
  const real = labels.filter((label) => label !== -100);
  return [...real, ...labels.slice(real.length).fill(-100)];
}

describe('a stream of tokens', () => {
  it('gives each greedy token once, in order, and the same text at the end', async () => {
    const fixture = await readFixture<LlamaConfig>('llm-llama');
    await using engine = createOnnxEngine({ threads: 1 });
    const executables = {
      prefill: await engine.compile(prefillGraph(llama, fixture.config, { softPrompt: false }), fixture.parameters),
      decode: await engine.compile(decodeGraph(llama, fixture.config), fixture.parameters),
    };
    const args = { promptIds: need(fixture.inputs, 'input_ids'), promptMask: need(fixture.inputs, 'attention_mask'), tokens: llama.specialTokens(fixture.config), options: { maxNewTokens: 40 } };
    const heard: number[][] = [[], []];
    for await (const event of generate(executables, args)) {
      if (event.type === 'token-delta') heard[event.row]!.push(event.id);
      else expect(event.rows.map((texts) => texts[0]!.ids)).toEqual(heard);
    }
    expect(heard[1]!.length).toBeGreaterThan(12);

    const hooked = await collect(generate(executables, args, undefined, { process: (scores) => scores.fill(-Infinity).fill(0, 5, 6) }));
    expect(new Set(hooked.flat().flatMap((text) => text.ids))).toEqual(new Set([5]));

    const controller = new AbortController();
    const stopped = async (): Promise<void> => {
      for await (const event of generate(executables, args, controller.signal)) if (event.type === 'token-delta') controller.abort(new Error('enough'));
    };
    await expect(stopped()).rejects.toThrow('enough');
  });

  it('has the log-probabilities of the whole text read at once, while the cache grows and beams change places', async () => {
    const fixture = await readFixture<LlamaConfig>('llm-llama');
    await using engine = createOnnxEngine({ threads: 1 });
    const executables = {
      prefill: await engine.compile(prefillGraph(llama, fixture.config, { softPrompt: false }), fixture.parameters),
      decode: await engine.compile(decodeGraph(llama, fixture.config), fixture.parameters),
    };
    const prompt = [1, 55, 103];
    const options = { maxNewTokens: 150, eosTokenIds: [] };
    for (const numBeams of [1, 2]) {
      const args = { promptIds: int64([1, 3], prompt), tokens: llama.specialTokens(fixture.config), options: { ...options, numBeams } };
      const [text] = (await collect(generate(executables, args)))[0]!;
      expect(text!.ids.length).toBe(150);
      const all = [...prompt, ...text!.ids];
      const g = createGraph('score');
      const { tokenLogProbs } = llama.loss(g, { promptIds: g.input('prompt', 'int64', [1, 3]), labels: g.input('labels', 'int64', [1, 'labels']) }, fixture.config);
      g.output('logProbs', tokenLogProbs);
      const model = await engine.compile(g.graph, fixture.parameters);
      const { logProbs } = await model.run({ prompt: int64([1, 3], prompt), labels: int64([1, all.length - 3], all.slice(3)) });
      const sum = Array.from(logProbs!.data, Number).reduce((a, b) => a + b);
      expect(sum / 150, `${numBeams} beams`).toBeCloseTo(text!.score, 4);
    }
  });

  it("comes from the engine's worker thread just the same (the built loop runs there)", async () => {
    const fixture = await readFixture<LlamaConfig>('llm-llama');
    await using engine = createOnnxHost({ threads: 1 });
    const executables = {
      prefill: await engine.compile(prefillGraph(llama, fixture.config, { softPrompt: false }), fixture.parameters),
      decode: await engine.compile(decodeGraph(llama, fixture.config), fixture.parameters),
    };
    const tokens = llama.specialTokens(fixture.config);
    for (const run of fixture.generations) {
      const args = { promptIds: need(fixture.inputs, 'input_ids'), promptMask: need(fixture.inputs, 'attention_mask'), tokens, options: fromGenerationConfig(run.options) };
      const texts = (await collect(generateOn(engine, executables, args))).flat();
      expect(texts.map((text) => text.ids), run.name).toEqual(run.sequences.map((ids) => upToEnd(ids.slice(args.promptIds.shape[1]), tokens.eos)));
    }
  });
});
