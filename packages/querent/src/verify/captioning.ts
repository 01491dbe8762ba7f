/**
 * Verifies a whole BLIP-2 or InstructBLIP (HF `Blip2ForConditionalGeneration`, `InstructBlipForConditionalGeneration`): tower, queries,
 * projection, language model, loss with its gradients, decoding. What InstructBLIP's bridge reads is in `instructblip.ts`.
 * Transformers has image placeholders among the ids; here queries stand in front of the text.
 */
import type { LanguageModelPlugin, Tensor, TensorData } from '@querent/core';
import { float32, int64, languageConfig } from '@querent/core';
import { addDims, concat, grad, linear } from '@querent/graph';
import { decoderOnlyHidden, encodePrompt, forget } from '@querent/llm-adapters';
import type { Blip2Parts } from './blip2-parts.ts';
import { buildBlip2 } from './blip2-parts.ts';
import { decoderFamily, encoderDecoderFamily } from './families.ts';
import { check, input, part, reportOf } from './fixture.ts';
import type { Fixture, Tensors } from './fixture.ts';
import type { DecodingCase } from './generations.ts';
import { verifyGenerations, verifyNamedRun } from './generations.ts';
import { bridgeCounts, imageFeeds, instructionInputs, jointStates } from './instructblip.ts';
import type { Plugins } from './plugins.ts';
import type { VerifyReport } from './report.ts';
import { padded, rowsOf } from './rows.ts';
import { runOnce } from './run-graph.ts';

const LANGUAGE_MODEL = 'language_model';

/** Text without its image placeholders and padding, one list a row. */
interface Prompt {
  readonly texts: readonly (readonly number[])[];
  readonly labels: readonly (readonly number[])[];
  readonly image: number;
}

export async function verifyCaptioning(fixture: Fixture, plugins: Plugins): Promise<VerifyReport> {
  const given = part(fixture.config, 'text_config');
  const plugin = plugins.languageModel(String(given['model_type']));
  const textConfig = languageConfig(plugin, given, (name) => fixture.weights.has(`${LANGUAGE_MODEL}.${name}`), { what: 'text_config', file: 'config.json' });
  const parts = buildBlip2(fixture, plugins, 'blip2');
  const prompt = promptOf(fixture);
  const softPrompt = bridgeOutputs(fixture, parts, plugin, textConfig);
  const outputs = plugin.architecture === 'decoder-only' ? await decoderOnly(fixture, parts, plugin, textConfig, softPrompt, prompt) : await encoderDecoder(fixture, parts, plugin, textConfig, softPrompt, prompt);
  const projected = outputs.get('language_projection');
  if (projected !== undefined) await decode(fixture, plugin, textConfig, projected, prompt, parts.queries);
  return reportOf(fixture, `captioning (${String(fixture.config?.['model_type'])} with ${plugin.name})`);
}

function promptOf(fixture: Fixture): Prompt {
  const [ids, mask] = [rowsOf(input(fixture, 'input_ids')), rowsOf(input(fixture, 'attention_mask'))];
  const labels = rowsOf(fixture.inputs.get('labels') ?? input(fixture, 'input_ids'));
  const image = Number(fixture.config?.['image_token_index'] ?? fixture.config?.['image_token_id'] ?? fixture.notes['image_token_id']);
  const isText = (row: number, column: number): boolean => mask[row]?.[column] === 1 && ids[row]?.[column] !== image;
  return {
    texts: ids.map((row, i) => row.filter((_, column) => isText(i, column))),
    labels: labels.map((row, i) => row.filter((_, column) => (row.length === ids[i]?.length ? isText(i, column) : true))),
    image,
  };
}

/** Adds what lies before the language model, and gives the soft prompt. */
function bridgeOutputs(fixture: Fixture, parts: Blip2Parts, plugin: LanguageModelPlugin, textConfig: unknown): Tensor {
  const { g, features, pooled, bridge } = parts;
  const instruction = instructionInputs(fixture, g);
  const { queries, crossAttentions } = bridge.encode(features, instruction);
  const softPrompt = linear(g.scope('language_projection'), queries, plugin.width(textConfig));
  g.output('vision_last_hidden_state', features);
  if (pooled !== undefined) g.output('vision_pooler_output', pooled);
  g.output('qformer_last_hidden_state', instruction === undefined ? queries : jointStates(bridge, features, instruction));
  crossAttentions.forEach((probabilities, layer) => {
    if (probabilities !== null && fixture.expected.has(`qformer_cross_attention_${layer}`)) g.output(`qformer_cross_attention_${layer}`, probabilities);
  });
  g.output('language_projection', softPrompt);
  return softPrompt;
}

/** `grad/<parameter>` of the loss for each that is expected. */
function gradients(fixture: Fixture, { g }: Blip2Parts, loss: Tensor): void {
  const wanted = [...fixture.expected.keys()].filter((name) => name.startsWith('grad/')).map((name) => name.slice('grad/'.length));
  const tensors = wanted.flatMap((name) => g.graph.parameters.get(name)?.tensor ?? []);
  if (tensors.length > 0) grad(loss, tensors).forEach((gradient, i) => g.output(`grad/${tensors[i]?.name ?? ''}`, gradient));
}

/** Everything real stands in front and padding behind, so that the first token follows the queries as it does in transformers. */
async function decoderOnly(fixture: Fixture, parts: Blip2Parts, plugin: LanguageModelPlugin, config: unknown, softPrompt: Tensor, prompt: Prompt): Promise<Tensors> {
  const { g, queries } = parts;
  const languageModel = g.scope(LANGUAGE_MODEL);
  const ids = g.input('text_ids', 'int64', ['batch', 'tokens']);
  const mask = g.input('whole_mask', 'int64', ['batch', addDims(queries, 'tokens')]);
  const { loss } = plugin.loss(languageModel, { softPrompt, labels: g.input('labels', 'int64', ['batch', 'tokens']) }, config);
  g.output('loss', loss);
  gradients(fixture, parts, loss);
  const family = decoderFamily(plugin.name);
  if (family !== undefined) {
    const embeddings = concat([softPrompt, family.embed(languageModel, ids, config)], 1);
    g.output('logits', family.head(languageModel, decoderOnlyHidden(family, languageModel, { embeddings, mask }, forget, config), config));
  }
  const texts = padded(prompt.texts, 0, 'right');
  const outputs = await runOnce(g.graph, fixture, {
    ...imageFeeds(fixture),
    text_ids: texts,
    labels: padded(prompt.labels, -100, 'right'),
    whole_mask: padded(prompt.texts.map((row) => new Array<number>(queries + row.length).fill(1)), 0, 'right'),
  });
  for (const [name, actual] of outputs) if (name !== 'logits') check(fixture, name, actual, bridgeCounts(fixture, name, queries));
  const logits = outputs.get('logits');
  const wholeMask = input(fixture, 'attention_mask');
  if (logits !== undefined) check(fixture, 'logits', asTransformersHasThem(logits, wholeMask), { counts: wholeMask.data });
  return outputs;
}

/** Rows of real positions, put where the mask says they stand. */
function asTransformersHasThem(logits: TensorData, mask: TensorData): TensorData {
  const [batch = 0, tokens = 0] = mask.shape;
  const [, ours = 0, vocabulary = 0] = logits.shape;
  const data = new Float32Array(batch * tokens * vocabulary);
  for (let row = 0; row < batch; row++) {
    let rank = 0;
    for (let column = 0; column < tokens; column++) {
      if (Number(mask.data[row * tokens + column]) === 0) continue;
      const start = (row * ours + rank++) * vocabulary;
      data.set(Float32Array.from(logits.data.slice(start, start + vocabulary), Number), (row * tokens + column) * vocabulary);
    }
  }
  return float32([batch, tokens, vocabulary], data);
}

async function encoderDecoder(fixture: Fixture, parts: Blip2Parts, plugin: LanguageModelPlugin, config: unknown, softPrompt: Tensor, prompt: Prompt): Promise<Tensors> {
  const { g } = parts;
  const languageModel = g.scope(LANGUAGE_MODEL);
  const reads = { softPrompt, promptIds: g.input('text_ids', 'int64', ['batch', 'tokens']), promptMask: g.input('text_mask', 'int64', ['batch', 'tokens']) };
  const family = encoderDecoderFamily(plugin.name);
  if (family !== undefined) g.output('encoder_last_hidden_state', encodePrompt(family, languageModel, reads, config).states);
  const { loss, logits } = plugin.loss(languageModel, { ...reads, labels: g.input('labels', 'int64', ['batch', 'labels']) }, config);
  g.output('loss', loss);
  g.output('logits', logits);
  gradients(fixture, parts, loss);
  const labels = input(fixture, 'labels');
  const outputs = await runOnce(g.graph, fixture, { ...imageFeeds(fixture), ...promptFeeds(prompt, 'right'), labels });
  const mask = input(fixture, 'attention_mask').data;
  const counted = Array.from(labels.data, Number).map((label) => (label === -100 ? 0 : 1));
  for (const [name, actual] of outputs) {
    check(fixture, name, actual, name === 'logits' ? { counts: counted } : name === 'encoder_last_hidden_state' ? { counts: mask } : bridgeCounts(fixture, name, parts.queries));
  }
  return outputs;
}

function promptFeeds(prompt: Prompt, side: 'left' | 'right'): { readonly text_ids: TensorData<'int64'>; readonly text_mask: TensorData<'int64'> } {
  return { text_ids: padded(prompt.texts, 0, side), text_mask: padded(prompt.texts.map((row) => row.map(() => 1)), 0, side) };
}

async function decode(fixture: Fixture, plugin: LanguageModelPlugin, config: unknown, softPrompt: TensorData, prompt: Prompt, queries: number): Promise<void> {
  const soft = { softPrompt: softPrompt as TensorData<'float32'> }; // a projection of float32 weights
  const tokens = plugin.specialTokens(config);
  const isDecoder = plugin.architecture === 'decoder-only';
  const filler = tokens.pad ?? 0;
  const promptIds = padded(prompt.texts, filler, plugin.promptPadding);
  const promptMask = padded(prompt.texts.map((row) => row.map(() => 1)), 0, plugin.promptPadding);
  const rows = rowsOf(input(fixture, 'input_ids'));
  const base = { plugin, config, prefix: LANGUAGE_MODEL };
  const whole: DecodingCase = {
    ...base,
    prompt: { ...soft, promptIds, promptMask, ...(isDecoder ? { history: rows } : {}) },
    skip: isDecoder ? (rows[0]?.length ?? 0) : 1,
  };
  await verifyGenerations(fixture, whole);
  if (!isDecoder || tokens.bos === undefined) return;
  const start = [...new Array<number>(queries).fill(prompt.image), tokens.bos];
  const alone: DecodingCase = { ...base, prompt: { ...soft, promptIds: int64([rows.length, 1], rows.map(() => tokens.bos ?? 0)), history: rows.map(() => start) }, skip: start.length };
  await verifyNamedRun(fixture, alone, 'no_prompt_greedy', {});
}

