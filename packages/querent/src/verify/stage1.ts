/**
 * Verifies the three objectives of stage 1 with their losses, masks and gradients. Negatives are given; the LM head and the
 * temperature stand among the inputs, because HF has no names for them.
 */
import type { Dim, Graph, GraphScope, ParameterSet, Tensor, TensorData } from '@querent/core';
import { QuerentError, int64 } from '@querent/core';
import { add, addDims, cast, concat, createGraph, equal, expand, gather, grad, greater, range, reshape, transpose } from '@querent/graph';
import { paddingMask, prefixCausalMask, queriesOnlyMask } from '@querent/qformer';
import { itc, stage1 } from '@querent/training';
import type { Blip2Parts } from './blip2-parts.ts';
import { buildBlip2, textInputs } from './blip2-parts.ts';
import { check, input, numberOf, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import type { Plugins } from './plugins.ts';
import type { VerifyReport } from './report.ts';
import { feedsOf, runOnce } from './run-graph.ts';

const LM_HEAD = 'lm_head/';
const LOSSES = ['loss', 'loss_itc', 'loss_itm', 'loss_itg'] as const;

export async function verifyStage1(fixture: Fixture, plugins: Plugins): Promise<VerifyReport> {
  const parts = buildBlip2(fixture, plugins, 'stage1');
  const { g, features, bridge } = parts;
  const { contrast } = bridge;
  if (contrast === undefined || bridge.match === undefined || bridge.generateText === undefined) {
    throw new QuerentError('QRT_PLUGIN_INVALID', 'This bridge lacks an objective of stage 1.', { fix: 'Stage 1 needs contrast, match and generateText.' });
  }
  const text = textInputs(g);
  const rows = g.input('rows', 'int64', ['batch']);
  const negatives = { image: g.input('neg_image', 'int64', ['batch']), text: g.input('neg_text', 'int64', ['batch']) };

  const image = bridge.encode(features);
  const imageFeatures = contrast.imageFeatures(image.queries);
  const textFeatures = contrast.textFeatures(text);
  const contrastive = itc({ cosine: contrast.similarity(imageFeatures, textFeatures), temperature: contrast.temperature(), imageIds: rows });
  g.output('vision_last_hidden_state', features);
  g.output('image_feats', imageFeatures);
  g.output('text_feats', textFeatures);
  g.output('sim_i2t', contrastive.similarity);
  g.output('sim_t2i', transpose(contrastive.similarity, [1, 0]));
  g.output('loss_itc_i2t', contrastive.lossI2t);
  g.output('loss_itc_t2i', contrastive.lossT2i);
  const mixedRows = concat([rows, rows, negatives.text], 0);
  const mixed = { inputIds: gather(text.inputIds, mixedRows), attentionMask: gather(text.attentionMask, mixedRows) };
  g.output('itm_logits', bridge.match(features, mixed, { images: concat([rows, negatives.image, rows], 0) }));
  const decoderIds = g.input('decoder_ids', 'int64', ['batch', 'tokens']);
  g.output('itg_logits', bridge.generateText(image, { inputIds: decoderIds, attentionMask: text.attentionMask }));

  const losses = stage1(bridge, { features, ...text, imageIds: rows, negatives }, { weights: { itc: 1, itm: 1, itg: 1 }, decoderToken: numberOf(fixture.notes, 'dec_token_id') });
  for (const name of LOSSES) {
    const loss = losses[name];
    if (loss !== undefined) g.output(name, loss);
  }
  gradients(fixture, g, losses);

  const batch = input(fixture, 'input_ids').shape[0] ?? 0;
  const decoding = withDecoderToken(input(fixture, 'input_ids'), numberOf(fixture.notes, 'dec_token_id'));
  const outputs = await runOnce(
    g.graph,
    fixture,
    { ...feedsOf(fixture, ['pixel_values', 'input_ids', 'attention_mask', 'neg_image', 'neg_text']), rows: int64([batch], [...Array(batch).keys()]), decoder_ids: decoding },
    weightsWithHeads(fixture),
  );
  const mask = input(fixture, 'attention_mask').data;
  for (const [name, actual] of outputs) check(fixture, name, actual, name === 'itg_logits' ? { counts: mask } : {});
  checkLabels(fixture, batch, decoding);
  await checkMasks(fixture, parts);
  return reportOf(fixture, 'stage-1 objectives (blip-2)');
}

/** `grad/<loss>/<parameter>` for each that is expected. */
function gradients(fixture: Fixture, g: GraphScope, losses: Readonly<Record<string, Tensor>>): void {
  for (const name of LOSSES) {
    const prefix = `grad/${name}/`;
    const wanted = [...fixture.expected.keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
    const loss = losses[name];
    const tensors = wanted.flatMap((parameter) => g.graph.parameters.get(parameter)?.tensor ?? []);
    if (loss === undefined || tensors.length === 0) continue;
    grad(loss, tensors).forEach((gradient, i) => g.output(`${prefix}${tensors[i]?.name ?? ''}`, gradient));
  }
}

function weightsWithHeads(fixture: Fixture): ParameterSet {
  const all = new Map(fixture.weights);
  for (const [name, tensor] of fixture.inputs) if (name.startsWith(LM_HEAD)) all.set(`cls.predictions.${name.slice(LM_HEAD.length)}`, tensor);
  const temperature = fixture.inputs.get('temp');
  if (temperature !== undefined) all.set('temp', { ...temperature, shape: [] });
  return all;
}

/** [CLS] becomes [DEC]: what ITG reads. */
function withDecoderToken(ids: TensorData, decoderToken: number): TensorData<'int64'> {
  const width = ids.shape[1] ?? 1;
  return int64(ids.shape, Array.from(ids.data, Number).map((id, i) => (i % width === 0 ? decoderToken : id)));
}

function checkLabels(fixture: Fixture, batch: number, decoding: TensorData<'int64'>): void {
  check(fixture, 'itm_labels', int64([3 * batch], Array.from({ length: 3 * batch }, (_, i) => (i < batch ? 1 : 0))), { tolerance: 0 });
  const mask = input(fixture, 'attention_mask').data;
  check(fixture, 'itg_labels', int64(decoding.shape, Array.from(decoding.data, (id, i) => (Number(mask[i]) === 0 ? -100 : Number(id)))), { tolerance: 0 });
}

/** Who sees whom, joint: [batch, queries + tokens, queries + tokens], 1 where the additive mask hides nothing. */
async function checkMasks(fixture: Fixture, { queries }: Blip2Parts): Promise<void> {
  const graph = maskGraph(queries);
  const outputs = await runOnce(graph, fixture, feedsOf(fixture, ['attention_mask']));
  for (const [name, actual] of outputs) check(fixture, name, actual, { tolerance: 0 });
}

function maskGraph(queries: number): Graph {
  const g = createGraph('masks');
  const mask = g.input('attention_mask', 'int64', ['batch', 'tokens']);
  const whole = addDims(queries, 'tokens');
  const visible = (additive: Tensor, rows: Dim): Tensor => cast(greater(expand(reshape(additive, ['batch', additive.shape[2] ?? 1, whole]), ['batch', rows, whole]), -1), 'float32');
  const onlyQueries = visible(queriesOnlyMask(mask, queries), queries);
  const everything = paddingMask(mask, queries);
  // The uni-modal mask: the text's rows see what is text and not padding.
  const inText = cast(greater(add(range(mask, whole), -queries + 1), 0), 'float32');
  const textRows = visible(everything, 'tokens');
  g.output('mask/itm', visible(everything, whole));
  g.output('mask/itg', concat([onlyQueries, visible(prefixCausalMask(mask, queries), 'tokens')], 1));
  g.output('mask/itc', concat([onlyQueries, cast(equal(add(textRows, inText), 2), 'float32')], 1));
  return g.graph;
}
