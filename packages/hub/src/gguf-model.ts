/**
 * A GGUF file as a language model in HuggingFace's terms: `config.json` out of the metadata, tensors under the checkpoint's names.
 * llama.cpp stores LLaMA's queries and keys with the two halves of each head interleaved (its rotation turns neighbours, HF's turns
 * halves), and GPT-2's matrices as [out, in]; both are noted on the tensor and undone when it is loaded (`gguf-load.ts`).
 */
import { QuerentError, type DType, type FileTensor } from '@querent/core';
import { damagedGguf, readGguf, type GgufFile, type GgufTensor, type GgufValue } from './gguf.ts';
import type { GgmlType } from './gguf-blocks.ts';
import type { JsonObject } from './json-file.ts';

/** How a tensor's rows have to be put to be HuggingFace's. */
export type GgufArrangement = { readonly kind: 'as-is' } | { readonly kind: 'heads'; readonly heads: number } | { readonly kind: 'transposed' };

/** A tensor that is not plain bytes of its `dtype`: engines refuse it, `gguf-load.ts` reads it. */
export interface GgufFileTensor extends FileTensor {
  readonly gguf: { readonly type: GgmlType; readonly arrangement: GgufArrangement };
}

/** Does this tensor need {@link GgufFileTensor}'s reader? */
export function isGgufTensor(tensor: object): tensor is GgufFileTensor {
  return 'gguf' in tensor;
}

/** What a file is as a model. */
export interface GgufModel {
  readonly file: string;
  /** HF `config.json`, `model_type` included. */
  readonly config: JsonObject;
  readonly generationConfig: JsonObject;
  /** Under HuggingFace's names, without a prefix. Plain ones can be mapped by an engine. */
  readonly parameters: ReadonlyMap<string, FileTensor>;
  readonly metadata: ReadonlyMap<string, GgufValue>;
}

/**
 * Reads a language model's header.
 * @throws QuerentError what {@link readGguf} throws; QRT_MODEL_UNSUPPORTED for an architecture that has no translation;
 *   QRT_CHECKPOINT_FORMAT when metadata that the config needs is missing or of the wrong kind.
 */
export async function readGgufModel(file: string): Promise<GgufModel> {
  return ggufModel(await readGguf(file));
}

/** {@link readGgufModel} of a header that has been read. */
export function ggufModel(gguf: GgufFile): GgufModel {
  const meta = new Metadata(gguf);
  const architecture = meta.string('general.architecture');
  const family = FAMILIES.get(architecture);
  if (family === undefined) {
    throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${gguf.file} is of the architecture ${JSON.stringify(architecture.slice(0, 60))}; ${[...FAMILIES.keys()].join(', ')} are read from GGUF.`, {
      fix: 'Take the safetensors checkpoint of the same model: more families are read from it.',
      details: { file: gguf.file, architecture },
    });
  }
  const parameters = new Map<string, FileTensor>();
  for (const tensor of gguf.tensors.values()) {
    const place = family.place(tensor.name, meta);
    if (place === undefined) continue; // what the config does not ask for
    parameters.set(place.name, fileTensor(gguf.file, tensor, place.arrangement));
  }
  const ids = { bos_token_id: meta.id('bos'), eos_token_id: meta.id('eos'), pad_token_id: meta.id('padding') };
  const special: JsonObject = Object.fromEntries(Object.entries(ids).filter(([, id]) => id !== undefined));
  return { file: gguf.file, config: { model_type: family.modelType, ...family.config(meta), ...special }, generationConfig: special, parameters, metadata: gguf.metadata };
}

interface Place {
  readonly name: string;
  readonly arrangement: GgufArrangement;
}

interface Family {
  readonly modelType: string;
  config(meta: Metadata): JsonObject;
  /** Where a tensor stands in HF's checkpoint; undefined: nowhere. */
  place(name: string, meta: Metadata): Place | undefined;
}

const AS_IS: GgufArrangement = { kind: 'as-is' };

const LLAMA_BLOCK: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};
const LLAMA_TOP: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};
const GPT2_BLOCK: Readonly<Record<string, string>> = {
  attn_norm: 'ln_1',
  attn_qkv: 'attn.c_attn',
  attn_output: 'attn.c_proj',
  ffn_norm: 'ln_2',
  ffn_up: 'mlp.c_fc',
  ffn_down: 'mlp.c_proj',
};
const GPT2_TOP: Readonly<Record<string, string>> = {
  'token_embd.weight': 'transformer.wte.weight',
  'position_embd.weight': 'transformer.wpe.weight',
  'output_norm.weight': 'transformer.ln_f.weight',
  'output_norm.bias': 'transformer.ln_f.bias',
  'output.weight': 'lm_head.weight',
};

/** `blk.3.attn_q.weight` in its parts. */
const BLOCK = /^blk\.(\d{1,5})\.([a-z_]+)\.(weight|bias)$/;

function placeIn(top: Readonly<Record<string, string>>, block: Readonly<Record<string, string>>, root: string, name: string): string | undefined {
  if (Object.hasOwn(top, name)) return top[name];
  const [, layer, part = '', kind] = BLOCK.exec(name) ?? [];
  return layer !== undefined && Object.hasOwn(block, part) ? `${root}.${layer}.${block[part]}.${kind}` : undefined;
}

/** @param interleaved are queries and keys stored for llama.cpp's rotation of neighbours? */
function llamaLike(modelType: string, interleaved: boolean): Family {
  return {
    modelType,
    config(meta) {
      const heads = meta.size('attention.head_count');
      const keyHeads = meta.sizeIfThere('attention.head_count_kv') ?? heads;
      const hidden = meta.size('embedding_length');
      const headWidth = meta.sizeIfThere('attention.key_length');
      return {
        vocab_size: meta.vocabulary('token_embd.weight'),
        hidden_size: hidden,
        intermediate_size: meta.size('feed_forward_length'),
        num_hidden_layers: meta.size('block_count'),
        num_attention_heads: heads,
        num_key_value_heads: keyHeads,
        ...(headWidth === undefined || headWidth === hidden / heads ? {} : { head_dim: headWidth }),
        hidden_act: 'silu',
        rms_norm_eps: meta.number('attention.layer_norm_rms_epsilon', 1e-5),
        max_position_embeddings: meta.size('context_length'),
        tie_word_embeddings: !meta.gguf.tensors.has('output.weight'),
        ...(meta.gguf.tensors.has('blk.0.attn_q.bias') && modelType === 'llama' ? { qkv_bias: true } : {}),
        rope_theta: meta.number('rope.freq_base', 10000),
        ...ropeScaling(meta),
      };
    },
    place(name, meta) {
      const place = placeIn(LLAMA_TOP, LLAMA_BLOCK, 'model.layers', name);
      if (place === undefined) return undefined;
      const isQuery = place.includes('.q_proj.');
      if (!interleaved || !(isQuery || place.includes('.k_proj.'))) return { name: place, arrangement: AS_IS };
      const heads = meta.size('attention.head_count');
      return { name: place, arrangement: { kind: 'heads', heads: isQuery ? heads : (meta.sizeIfThere('attention.head_count_kv') ?? heads) } };
    },
  };
}

const gpt2: Family = {
  modelType: 'gpt2',
  config: (meta) => ({
    vocab_size: meta.vocabulary('token_embd.weight'),
    n_embd: meta.size('embedding_length'),
    n_layer: meta.size('block_count'),
    n_head: meta.size('attention.head_count'),
    n_inner: meta.size('feed_forward_length'),
    n_positions: meta.size('context_length'),
    activation_function: 'gelu_new',
    layer_norm_epsilon: meta.number('attention.layer_norm_epsilon', 1e-5),
    tie_word_embeddings: !meta.gguf.tensors.has('output.weight'),
  }),
  place(name) {
    const place = placeIn(GPT2_TOP, GPT2_BLOCK, 'transformer.h', name);
    if (place === undefined) return undefined;
    return { name: place, arrangement: /\.(c_attn|c_proj|c_fc)\.weight$/.test(place) ? { kind: 'transposed' } : AS_IS };
  },
};

/** By `general.architecture`. */
const FAMILIES: ReadonlyMap<string, Family> = new Map([
  ['llama', llamaLike('llama', true)],
  ['qwen2', llamaLike('qwen2', false)],
  ['gpt2', gpt2],
]);

function ropeScaling(meta: Metadata): JsonObject {
  if (meta.gguf.tensors.has('rope_freqs.weight')) {
    throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${meta.gguf.file} scales its rotation by a table (rope_freqs.weight), which is not read.`, {
      fix: 'Take the safetensors checkpoint of the same model: its config says how the table was made.',
    });
  }
  const kind = meta.get('rope.scaling.type');
  if (kind === undefined || kind === 'none') return {};
  if (kind !== 'linear') {
    throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${meta.gguf.file} scales its rotation by ${JSON.stringify(kind)}; "linear" is read from GGUF.`, { fix: 'Take the safetensors checkpoint of the same model.' });
  }
  return { rope_scaling: { rope_type: 'linear', factor: meta.number('rope.scaling.factor', 1) } };
}

const PLAIN: ReadonlyMap<string, DType> = new Map<string, DType>([
  ['F32', 'float32'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
]);

function fileTensor(file: string, { type, shape, offset, byteLength }: GgufTensor, arrangement: GgufArrangement): FileTensor | GgufFileTensor {
  const plain = PLAIN.get(type.name);
  const target = arrangement.kind === 'transposed' ? [...shape].reverse() : shape;
  const where = { shape: target, file, offset, byteLength };
  if (plain !== undefined && arrangement.kind === 'as-is') return { dtype: plain, ...where };
  return { dtype: plain ?? 'float32', ...where, gguf: { type, arrangement } };
}

/** No config of a real model says more. */
const SIZE_LIMIT = 2 ** 27;

/** Metadata by the names that the architecture gives them, checked. */
class Metadata {
  readonly gguf: GgufFile;
  readonly #prefix: string;

  constructor(gguf: GgufFile) {
    this.gguf = gguf;
    this.#prefix = `${this.string('general.architecture')}.`;
  }

  get(key: string): GgufValue | undefined {
    return this.gguf.metadata.get(this.#prefix + key);
  }

  string(key: string): string {
    const value = this.gguf.metadata.get(key);
    if (typeof value !== 'string') throw this.#wrong(key, value, 'a text');
    return value;
  }

  number(key: string, otherwise: number): number {
    const value = this.get(key) ?? otherwise;
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) throw this.#wrong(this.#prefix + key, value, 'a positive number');
    return value;
  }

  size(key: string): number {
    const size = this.sizeIfThere(key);
    if (size === undefined) throw this.#wrong(this.#prefix + key, undefined, 'a whole number');
    return size;
  }

  sizeIfThere(key: string): number | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > SIZE_LIMIT) throw this.#wrong(this.#prefix + key, value, 'a whole number, the same in all layers');
    return value;
  }

  /** A special token's id; undefined when the file has none. */
  id(role: string): number | undefined {
    const value = this.gguf.metadata.get(`tokenizer.ggml.${role}_token_id`);
    return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < SIZE_LIMIT ? value : undefined;
  }

  /** Rows of the embedding table. */
  vocabulary(table: string): number {
    const tensor = this.gguf.tensors.get(table);
    const rows = tensor?.shape.length === 2 ? tensor.shape[0] : undefined;
    if (rows === undefined) throw damagedGguf(this.gguf.file, `it has no table ${table} [vocabulary, hidden]`);
    return rows;
  }

  #wrong(key: string, value: GgufValue | undefined, expected: string): QuerentError {
    const found = value === undefined ? 'is missing' : `is ${typeof value === 'object' ? 'a list' : JSON.stringify(String(value).slice(0, 40))}`;
    return damagedGguf(this.gguf.file, `its metadata ${key} ${found}; ${expected} is expected`);
  }
}
