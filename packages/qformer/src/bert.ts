/**
 * A Q-Former that begins as BERT (arXiv 2301.12597 §3.1: "we initialize QFormer with the pre-trained weights of BERT-base"; LAVIS
 * `init_Qformer`): both streams share BERT's self-attention, the queries' feed-forward starts as the text's, and the masked-LM head
 * becomes the one that writes captions. What BERT has no counterpart of stays as it was drawn: the cross-attention, the queries, the
 * retrieval heads, and rows of the word embeddings for tokens that BERT lacks ([DEC]). BERT's token types are dropped, as LAVIS does.
 *
 *     bert.embeddings.*                              embeddings.*, qformer.layernorm.*
 *     bert.encoder.layer.0.attention.self.query.*    qformer.encoder.layer.0.attention.attention.query.*
 *     bert.encoder.layer.0.output.dense.*            qformer.encoder.layer.0.output.dense.*, …output_query.dense.*
 *     cls.predictions.transform.*, cls.predictions.bias                              the same
 */
import type { BridgeStart, ParameterData, ParameterSet, TensorData } from '@querent/core';
import { QuerentError, elementCount } from '@querent/core';
import { DEFAULT_STD } from '@querent/graph';
import type { QFormerConfig } from './config.ts';

/** Keys of a BERT's `config.json` that a Q-Former shares, and so takes. */
const SHARED = ['hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'hidden_act', 'max_position_embeddings', 'layer_norm_eps', 'vocab_size'] as const;
/** Of these, what must be the same: another value would compute something else with the same weights. */
const EQUAL = ['hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'hidden_act'] as const;

/** Where a Q-Former keeps its embeddings and their norm: the one thing in which BLIP-2's and InstructBLIP's names differ. */
export interface EmbeddingNames {
  /** For instance `embeddings`. */
  readonly embeddings: string;
  /** For instance `qformer.layernorm`. */
  readonly norm: string;
}

/** A name of BERT's, without `bert.`, and the names that take its values. */
const RULES: readonly (readonly [RegExp, (found: RegExpExecArray, names: EmbeddingNames) => readonly string[]])[] = [
  [/^embeddings\.(word|position)_embeddings\.weight$/, ([, which], { embeddings }) => [`${embeddings}.${which}_embeddings.weight`]],
  [/^embeddings\.LayerNorm\.(weight|bias)$/, ([, part], { norm }) => [`${norm}.${part}`]],
  [/^(encoder\.layer\.\d+\.attention)\.self\.((?:query|key|value)\.(?:weight|bias))$/, ([, layer, part]) => [`qformer.${layer}.attention.${part}`]],
  [/^encoder\.layer\.\d+\.attention\.output\.(?:dense|LayerNorm)\.(?:weight|bias)$/, ([whole]) => [`qformer.${whole}`]],
  [/^(encoder\.layer\.\d+\.(?:intermediate|output))\.((?:dense|LayerNorm)\.(?:weight|bias))$/, ([, block, part]) => [`qformer.${block}.${part}`, `qformer.${block}_query.${part}`]],
  [/^cls\.predictions\.(?:transform\.(?:dense|LayerNorm)\.(?:weight|bias)|bias)$/, ([whole]) => [whole]],
];

/**
 * The names under which a Q-Former keeps a tensor of BERT's; none for what it does not take (pooler, token types, next-sentence head).
 * `bert.` in front may be there or not, as a sentence encoder's checkpoint has it; the norms of old files are called gamma and beta.
 */
export function bertParameterNames(name: string, names: EmbeddingNames): readonly string[] {
  const plain = name.replace(/^bert\./, '').replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias');
  for (const [pattern, targets] of RULES) {
    const found = pattern.exec(plain);
    if (found !== null) return targets(found, names);
  }
  return [];
}

/** What a Q-Former's config takes from a BERT's, so that the weights fit. */
export function configFromBert(bert: Readonly<Record<string, unknown>>): Partial<QFormerConfig> {
  return Object.fromEntries(SHARED.flatMap((key) => (bert[key] === undefined ? [] : [[key, bert[key]]])));
}

/** How a Q-Former whose embeddings have these names begins as BERT. */
export function bertStart(names: EmbeddingNames): BridgeStart<QFormerConfig> {
  return {
    modelType: 'bert',
    config: configFromBert,
    weights: (bert, bertConfig, config, normal) => weightsFromBert(bert, bertConfig, config, names, normal),
  };
}

/**
 * The Q-Former's parameters that BERT gives, under the Q-Former's names; the caller draws the rest.
 *
 * @param bert the checkpoint, loaded, float32: of `BertModel`, `BertForMaskedLM` or `BertForPreTraining`
 * @param bertConfig its `config.json`
 * @param normal draws from the standard normal distribution: for tokens that BERT has no row for
 * @throws QuerentError QRT_CHECKPOINT_MISMATCH with everything that does not fit, at once.
 */
export function weightsFromBert(
  bert: ParameterSet,
  bertConfig: Readonly<Record<string, unknown>>,
  config: QFormerConfig,
  names: EmbeddingNames,
  normal: () => number,
): Map<string, TensorData<'float32'>> {
  const problems = EQUAL.flatMap((key) => {
    const given = bertConfig[key] ?? config[key]; // what BERT's config leaves out shows in the shapes below
    return given === config[key] ? [] : [`${key} is ${String(config[key])}, BERT's is ${String(given)}`];
  });
  const shapes = expectedShapes(config, names);
  const found = new Map<string, TensorData<'float32'>>();
  for (const [name, tensor] of bert) {
    for (const target of bertParameterNames(name, names)) {
      const shape = shapes.get(target);
      if (shape === undefined) problems.push(`${name} has no place in ${config.num_hidden_layers} layers`);
      else if (!fits(tensor.shape, shape, target, names)) problems.push(`${name} is [${tensor.shape.join(', ')}], the Q-Former has [${shape.join(', ')}]`);
      else found.set(target, resized(floats(name, tensor), shape, target === `${names.embeddings}.word_embeddings.weight` ? normal : () => 0));
    }
  }
  for (const target of shapes.keys()) if (!found.has(target) && !target.startsWith('cls.')) problems.push(`BERT has nothing for ${target}`);
  if (problems.length > 0) {
    const some = [...new Set(problems)];
    throw new QuerentError('QRT_CHECKPOINT_MISMATCH', `The Q-Former cannot begin as this BERT: ${some.slice(0, 6).join('; ')}${some.length > 6 ? `; and ${some.length - 6} more` : ''}.`, {
      fix: "Leave the sizes out of qformer_config: they are then BERT's. Only its vocabulary may be larger and its longest text shorter.",
      details: { problems: some },
    });
  }
  return found;
}

/** Everything that BERT can give. */
function expectedShapes(config: QFormerConfig, names: EmbeddingNames): Map<string, readonly number[]> {
  const { hidden_size: hidden, intermediate_size: inner } = config;
  const shapes = new Map<string, readonly number[]>([
    [`${names.embeddings}.word_embeddings.weight`, [config.vocab_size, hidden]],
    [`${names.embeddings}.position_embeddings.weight`, [config.max_position_embeddings, hidden]],
    ['cls.predictions.bias', [config.vocab_size]],
  ]);
  const linear = (name: string, out: number, into: number): void => void shapes.set(`${name}.weight`, [out, into]).set(`${name}.bias`, [out]);
  const norm = (name: string): void => void shapes.set(`${name}.weight`, [hidden]).set(`${name}.bias`, [hidden]);
  norm(names.norm);
  linear('cls.predictions.transform.dense', hidden, hidden);
  norm('cls.predictions.transform.LayerNorm');
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = `qformer.encoder.layer.${i}`;
    for (const part of ['query', 'key', 'value']) linear(`${layer}.attention.attention.${part}`, hidden, hidden);
    linear(`${layer}.attention.output.dense`, hidden, hidden);
    norm(`${layer}.attention.output.LayerNorm`);
    for (const suffix of ['', '_query']) {
      linear(`${layer}.intermediate${suffix}.dense`, inner, hidden);
      linear(`${layer}.output${suffix}.dense`, hidden, inner);
      norm(`${layer}.output${suffix}.LayerNorm`);
    }
  }
  return shapes;
}

/** Tokens may be added to the vocabulary, and positions left out at the end: texts begin at position 0. Nothing else may differ. */
function fits(given: readonly number[], wanted: readonly number[], target: string, names: EmbeddingNames): boolean {
  if (given.length !== wanted.length || given.slice(1).join() !== wanted.slice(1).join()) return false;
  const [rows, most] = [given[0]!, wanted[0]!];
  if (target === `${names.embeddings}.word_embeddings.weight` || target === 'cls.predictions.bias') return rows <= most;
  return target === `${names.embeddings}.position_embeddings.weight` ? rows >= most : rows === most;
}

function floats(name: string, tensor: ParameterData): Float32Array {
  if ('data' in tensor && tensor.data instanceof Float32Array) return tensor.data;
  throw new QuerentError('QRT_USAGE', `${name} of BERT must be loaded as float32; it is ${tensor.dtype}.`, { fix: 'Read the folder with loadTensors and asFloat32.' });
}

/** A copy with as many rows as wanted; rows that BERT lacks are drawn. */
function resized(values: Float32Array, shape: readonly number[], normal: () => number): TensorData<'float32'> {
  const data = new Float32Array(elementCount(shape));
  data.set(values.subarray(0, data.length));
  for (let i = values.length; i < data.length; i++) data[i] = DEFAULT_STD * normal();
  return { dtype: 'float32', shape: [...shape], data };
}
