/**
 * Verifies the original BLIP. A captioner (HF `BlipForConditionalGeneration`): image features, logits of the whole text, a smoothed loss,
 * decoding with a prompt and without. A matcher (HF `BlipForImageTextRetrieval`): ITM of each pair, ITC of all images with all texts.
 */
import type { EncoderConfig, GraphScope, Tensor, TensorData } from '@querent/core';
import { int64, validate } from '@querent/core';
import { blipVisionPlugin } from '@querent/encoders';
import { createGraph, slice } from '@querent/graph';
import type { JsonObject } from '@querent/hub';
import { isJsonObject } from '@querent/hub';
import type { BlipMatchingConfig, BlipTextConfig } from '@querent/llm-adapters';
import { blipMatching, blipMatchingPlugin, blipText, blipTextLogits } from '@querent/llm-adapters';
import { blipConfigs } from '../blip-folder.ts';
import { check, input, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import type { DecodingCase } from './generations.ts';
import { verifyGenerations } from './generations.ts';
import type { VerifyReport } from './report.ts';
import { rowsOf } from './rows.ts';
import { feedsOf, runOnce } from './run-graph.ts';

const DECODER = 'text_decoder';

/** Is this the config of a BLIP? */
export function isBlip(config: JsonObject): boolean {
  return config['model_type'] === 'blip';
}

export async function verifyBlip(fixture: Fixture): Promise<VerifyReport> {
  const isMatcher = [...fixture.weights.keys()].some((name) => name.startsWith('itm_head.'));
  if (isMatcher) await matcher(fixture);
  else await captioner(fixture);
  return reportOf(fixture, isMatcher ? 'image–text matching (blip)' : 'captioning (blip)');
}

/** The image's features in a graph, as both kinds of model begin. */
function tower(fixture: Fixture, g: GraphScope): Tensor {
  const { vision_config: given } = blipConfigs(fixture.config ?? {});
  const config = validate<EncoderConfig>(blipVisionPlugin.configSchema, given, { what: 'vision_config' });
  const pixels = g.input('pixel_values', 'float32', ['batch', ...input(fixture, 'pixel_values').shape.slice(1)]);
  return blipVisionPlugin.build(g.scope('vision_model'), pixels, { ...blipVisionPlugin.defaults, ...config }).lastHiddenState;
}

function textInputs(g: GraphScope): { readonly inputIds: Tensor; readonly attentionMask: Tensor } {
  return { inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']), attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']) };
}

async function captioner(fixture: Fixture): Promise<void> {
  const config = validate<BlipTextConfig>(blipText.configSchema, blipConfigs(fixture.config ?? {}).text_config, { what: 'text_config' });
  const g = createGraph('blip');
  const features = tower(fixture, g);
  const text = textInputs(g);
  g.output('image_last_hidden_state', features);
  g.output('logits', blipTextLogits(g.scope(DECODER), features, text, config));
  const labels = fixture.inputs.get('labels');
  if (labels !== undefined) {
    const given = g.input('labels', 'int64', ['batch', 'tokens']);
    // The first token is read and not asked for: what predicts it would be nothing.
    const inputs = { softPrompt: features, promptIds: slice(text.inputIds, 1, 0, 1), labels: slice(given, 1, 1, Infinity) };
    g.output('loss', blipText.loss(g.scope(DECODER), inputs, config).loss);
  }
  const outputs = await runOnce(g.graph, fixture, { ...feedsOf(fixture, ['pixel_values', 'input_ids', 'attention_mask']), ...(labels === undefined ? {} : { labels }) });
  for (const [name, actual] of outputs) check(fixture, name, actual);
  const image = outputs.get('image_last_hidden_state');
  if (image !== undefined) await decode(fixture, config, image);
}

/** Runs with the prompt, and runs without: the first begins as the model frames prompts. */
async function decode(fixture: Fixture, config: BlipTextConfig, features: TensorData): Promise<void> {
  const runs = Array.isArray(fixture.notes['generations']) ? fixture.notes['generations'].filter(isJsonObject) : [];
  const base = { plugin: blipText, config, prefix: DECODER } as const;
  const [ids, mask] = [rowsOf(input(fixture, 'input_ids')), rowsOf(input(fixture, 'attention_mask'))];
  const prompts = ids.map((row) => blipText.framePrompt?.(row, config) ?? row);
  const width = prompts[0]?.length ?? 0;
  const promptIds = int64([prompts.length, width], prompts.flat());
  const promptMask = int64([prompts.length, width], mask.flatMap((row) => row.slice(0, width)));
  const withPrompt: DecodingCase = { ...base, prompt: { softPrompt: features, promptIds, promptMask }, skip: width };
  await verifyGenerations({ ...fixture, notes: { ...fixture.notes, generations: runs.filter((run) => run['with_prompt'] !== false) } }, withPrompt);
  const without: DecodingCase = { ...base, prompt: { softPrompt: features }, skip: 1 };
  await verifyGenerations({ ...fixture, notes: { ...fixture.notes, generations: runs.filter((run) => run['with_prompt'] === false) } }, without);
}

async function matcher(fixture: Fixture): Promise<void> {
  const parts = blipConfigs(fixture.config ?? {});
  const top = Object.fromEntries(blipMatchingPlugin.topLevelKeys.flatMap((key) => (fixture.config?.[key] === undefined ? [] : [[key, fixture.config[key]]])));
  const given = validate<BlipMatchingConfig>(blipMatchingPlugin.configSchema, { ...top, ...parts.qformer_config }, { what: 'text_config' });
  const g = createGraph('blip');
  const features = tower(fixture, g);
  const text = textInputs(g);
  const { contrast, match, encodeText } = blipMatching(g, { ...blipMatchingPlugin.defaults, ...given });
  g.output('itm_logits', match(features, text));
  g.output('question_embeds', encodeText(text, features));
  g.output('itc_scores', contrast.similarity(contrast.imageFeatures(features), contrast.textFeatures(text)));
  const outputs = await runOnce(g.graph, fixture, feedsOf(fixture, ['pixel_values', 'input_ids', 'attention_mask']));
  const mask = input(fixture, 'attention_mask');
  for (const [name, actual] of outputs) check(fixture, name, actual, name === 'question_embeds' ? { counts: mask.data } : {});
}
