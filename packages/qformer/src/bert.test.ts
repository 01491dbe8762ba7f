/** Which of BERT's tensors a Q-Former takes, and what it refuses. That the text stream then is BERT: test/parity. */
import type { TensorData } from '@querent/core';
import { createGraph } from '@querent/graph';
import { describe, expect, it } from 'vitest';
import { bertParameterNames, weightsFromBert } from './bert.ts';
import { QFORMER_DEFAULTS } from './config.ts';
import type { QFormerConfig } from './config.ts';
import plugin from './qformer.ts';

const NAMES = { embeddings: 'embeddings', norm: 'qformer.layernorm' };
const BERT = { model_type: 'bert', vocab_size: 9, hidden_size: 4, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 6, hidden_act: 'gelu', max_position_embeddings: 8, layer_norm_eps: 1e-12 };
const CONFIG: QFormerConfig = { ...QFORMER_DEFAULTS, ...plugin.start!.config(BERT), vocab_size: 10, encoder_hidden_size: 3, num_query_tokens: 2, image_text_hidden_size: 4 };

/** A BERT whose every tensor holds a number of its own. */
function bert(prefix: string, hasHead = true, norm: readonly [string, string] = ['weight', 'bias']): Map<string, TensorData<'float32'>> {
  const tensors = new Map<string, TensorData<'float32'>>();
  const put = (name: string, ...shape: number[]): void => {
    const length = shape.reduce((a, b) => a * b, 1);
    tensors.set(name, { dtype: 'float32', shape, data: new Float32Array(length).fill(tensors.size + 1) });
  };
  const linear = (name: string, out: number, into: number): void => {
    put(`${name}.weight`, out, into);
    put(`${name}.bias`, out);
  };
  const norms = (name: string): void => norm.forEach((part) => put(`${name}.LayerNorm.${part}`, 4));
  put(`${prefix}embeddings.word_embeddings.weight`, 9, 4);
  put(`${prefix}embeddings.position_embeddings.weight`, 8, 4);
  put(`${prefix}embeddings.token_type_embeddings.weight`, 2, 4);
  norms(`${prefix}embeddings`);
  for (const i of [0, 1]) {
    const layer = `${prefix}encoder.layer.${i}`;
    for (const part of ['query', 'key', 'value']) linear(`${layer}.attention.self.${part}`, 4, 4);
    linear(`${layer}.attention.output.dense`, 4, 4);
    norms(`${layer}.attention.output`);
    linear(`${layer}.intermediate.dense`, 6, 4);
    linear(`${layer}.output.dense`, 4, 6);
    norms(`${layer}.output`);
  }
  linear(`${prefix}pooler.dense`, 4, 4);
  if (hasHead) {
    put('cls.predictions.bias', 9);
    linear('cls.predictions.transform.dense', 4, 4);
    norms('cls.predictions.transform');
    put('cls.predictions.decoder.weight', 9, 4);
    linear('cls.seq_relationship', 2, 4);
  }
  return tensors;
}

/** Everything that stage 1 trains. */
function stage1Names(): string[] {
  const g = createGraph('stage1');
  const text = { inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']), attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']) };
  const features = g.input('features', 'float32', ['batch', 5, 3]);
  const bridge = plugin.build(g, CONFIG);
  const image = bridge.encode(features);
  bridge.contrast.imageFeatures(image.queries);
  bridge.contrast.textFeatures(text);
  bridge.contrast.temperature();
  bridge.match(features, text);
  bridge.generateText(image, text);
  return [...g.graph.parameters.keys()];
}

describe('a Q-Former that begins as BERT', () => {
  it('draws only what BERT has no counterpart of', () => {
    const begun = weightsFromBert(bert('bert.'), BERT, CONFIG, NAMES, () => 1);
    const drawn = stage1Names().filter((name) => !begun.has(name));
    expect(drawn.filter((name) => !/\.crossattention\./.test(name)).toSorted()).toEqual([
      'itm_head.bias', 'itm_head.weight', 'query_tokens', 'temp', 'text_projection.bias', 'text_projection.weight', 'vision_projection.bias', 'vision_projection.weight',
    ]);
    expect(drawn.some((name) => name.startsWith('qformer.encoder.layer.0.crossattention.'))).toBe(true);
  });

  it("starts both feed-forwards as the text's", () => {
    const given = bert('bert.');
    const begun = weightsFromBert(given, BERT, CONFIG, NAMES, () => 1);
    for (const part of ['intermediate.dense.weight', 'output.dense.bias', 'output.LayerNorm.weight']) {
      const source = given.get(`bert.encoder.layer.1.${part}`)!.data;
      expect(begun.get(`qformer.encoder.layer.1.${part}`)!.data).toEqual(source);
      expect(begun.get(`qformer.encoder.layer.1.${part.replace('.', '_query.')}`)!.data).toEqual(source);
    }
  });

  it('reads a checkpoint without `bert.`, without a head, and with the old names of its norms', () => {
    const values = (map: ReadonlyMap<string, TensorData>): Record<string, unknown> => Object.fromEntries(map);
    const usual = values(weightsFromBert(bert('bert.'), BERT, CONFIG, NAMES, () => 1));
    expect(values(weightsFromBert(bert(''), BERT, CONFIG, NAMES, () => 1))).toEqual(usual);
    expect(values(weightsFromBert(bert('bert.', true, ['gamma', 'beta']), BERT, CONFIG, NAMES, () => 1))).toEqual(usual);
    const headless = Object.entries(usual).filter(([name]) => !name.startsWith('cls.'));
    expect(values(weightsFromBert(bert('', false), BERT, CONFIG, NAMES, () => 1))).toEqual(Object.fromEntries(headless));
  });

  it('draws a row for a token that BERT lacks, and cuts positions at the longest text', () => {
    const begun = weightsFromBert(bert('bert.'), BERT, { ...CONFIG, max_position_embeddings: 5 }, NAMES, () => 1);
    const words = begun.get('embeddings.word_embeddings.weight')!;
    expect(words.shape).toEqual([10, 4]);
    expect(Array.from(words.data.slice(-5))).toEqual([1, ...new Array<number>(4).fill(Math.fround(0.02))]);
    expect(begun.get('cls.predictions.bias')!.data.at(-1)).toBe(0);
    expect(begun.get('embeddings.position_embeddings.weight')!.shape).toEqual([5, 4]);
  });

  it('takes nothing from what a Q-Former does not have', () => {
    for (const name of ['bert.pooler.dense.weight', 'bert.embeddings.token_type_embeddings.weight', 'cls.seq_relationship.bias', 'cls.predictions.decoder.weight', 'bert.embeddings.position_ids']) {
      expect(bertParameterNames(name, NAMES)).toEqual([]);
    }
  });

  it('refuses a BERT of other sizes, with all that differs', () => {
    const other = { ...CONFIG, num_attention_heads: 4, vocab_size: 8, num_hidden_layers: 1 };
    expect(() => weightsFromBert(bert('bert.'), BERT, other, NAMES, () => 1)).toThrow(
      /num_hidden_layers is 1, BERT's is 2; num_attention_heads is 4, BERT's is 2; bert\.embeddings\.word_embeddings\.weight is \[9, 4\], the Q-Former has \[8, 4\]/,
    );
    const cut = bert('bert.');
    cut.delete('bert.encoder.layer.1.output.dense.bias');
    expect(() => weightsFromBert(cut, BERT, CONFIG, NAMES, () => 1)).toThrow(/BERT has nothing for qformer\.encoder\.layer\.1\.output\.dense\.bias/);
  });
});
