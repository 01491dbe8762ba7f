/**
 * Whole BLIP-2 checkpoints of random weights in the sizes of published ones: what speed and memory are measured on where the weights
 * themselves are not at hand. Names and shapes are those that the model's own graphs declare; bf16, two shards, written piece by piece.
 */
import { join } from 'node:path';
import type { GraphParameter, PluginRegistry } from '@querent/core';
import { elementCount } from '@querent/core';
import type { JsonObject } from '@querent/hub';
import { float32ToBfloat16, trainByteLevelBpe, writeFileAtomic } from '@querent/hub';
import { modelGraphs } from './model-graphs.ts';
import { openParts } from './model-parts.ts';
import type { RecipeObject } from './model-source.ts';
import { openSource } from './model-source.ts';

const VIT_G = { image_size: 224, patch_size: 14, hidden_size: 1408, num_hidden_layers: 39, num_attention_heads: 16, intermediate_size: 6144 };
const QFORMER = { hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072, vocab_size: 30522, max_position_embeddings: 512 };
const SMALL_OPT = { hidden_size: 64, word_embed_proj_dim: 64, ffn_dim: 256, num_hidden_layers: 2, num_attention_heads: 4, vocab_size: 512, max_position_embeddings: 128 };

/** `config.json` of each size that `querent bench infer` knows. */
export const BENCH_INFER_PRESETS: Readonly<Record<string, RecipeObject & JsonObject>> = {
  'opt-2.7b': whole(
    VIT_G,
    QFORMER,
    { hidden_size: 2560, word_embed_proj_dim: 2560, ffn_dim: 10240, num_hidden_layers: 32, num_attention_heads: 32, vocab_size: 50304, max_position_embeddings: 2048 },
    32,
  ),
  /** Only what sees is of the published size: for image encoding where two language models would not fit into memory beside each other. */
  'vit-g': whole(VIT_G, QFORMER, SMALL_OPT, 32),
  tiny: whole(
    { image_size: 56, patch_size: 14, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 128 },
    { hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 128, vocab_size: 512, max_position_embeddings: 64 },
    SMALL_OPT,
    8,
  ),
};

/** A BLIP-2 with an EVA tower and OPT, as HF writes it. */
function whole(vision: JsonObject, qformer: JsonObject & { readonly hidden_size: number }, text: JsonObject, queries: number): RecipeObject & JsonObject {
  return {
    architectures: ['Blip2ForConditionalGeneration'],
    model_type: 'blip-2',
    num_query_tokens: queries,
    image_text_hidden_size: 256,
    use_decoder_only_language_model: true,
    image_token_index: Number(text['vocab_size']) - 1,
    vision_config: { model_type: 'blip_2_vision_model', hidden_act: 'gelu', layer_norm_eps: 1e-6, qkv_bias: true, attention_dropout: 0, initializer_range: 0.02, ...vision },
    qformer_config: {
      model_type: 'blip_2_qformer', hidden_act: 'gelu', layer_norm_eps: 1e-12, cross_attention_frequency: 2, use_qformer_text_input: false,
      encoder_hidden_size: Number(vision['hidden_size']), attention_probs_dropout_prob: 0, hidden_dropout_prob: 0, ...qformer,
    },
    text_config: {
      model_type: 'opt', activation_function: 'relu', do_layer_norm_before: true, enable_bias: true, layer_norm_elementwise_affine: true, _remove_final_layer_norm: false,
      tie_word_embeddings: true, pad_token_id: 1, bos_token_id: 2, eos_token_id: 2, dropout: 0, ...text,
    },
  };
}

/** Weights are drawn this many at a time. */
const PIECE = 1 << 21;
const SHARDS = 2;
/** As the classes of all three parts draw them. */
const STD = 0.02;

export interface RandomCheckpointOptions {
  readonly registry: PluginRegistry;
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

/**
 * Writes `config.json`, two shards with their index, a tokenizer with as many tokens as the config says, and a preprocessor config. Memory
 * stays at a few MiB whatever the size.
 *
 * @returns how many weights there are, and their bytes
 * @throws QuerentError QRT_FILE when the disk is full or the folder cannot be written; what a wrong config throws.
 */
export async function writeRandomCheckpoint(folder: string, config: RecipeObject & JsonObject, { registry, seed = 1, signal }: RandomCheckpointOptions): Promise<{ readonly parameters: number; readonly bytes: number }> {
  const graphs = modelGraphs(await openParts(await openSource(config, folder), registry));
  const declared = [...new Map([graphs.encoder(), graphs.bridge(), graphs.prefill()].flatMap((graph) => [...graph.parameters])).values()];
  const parameters = declared.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const shards = sharded(declared, parameters / SHARDS);
  const weightMap: Record<string, string> = {};
  const draw = gaussian(seed);
  for (const [i, tensors] of shards.entries()) {
    const name = `model-${String(i + 1).padStart(5, '0')}-of-${String(shards.length).padStart(5, '0')}.safetensors`;
    for (const tensor of tensors) weightMap[tensor.name] = name;
    await writeFileAtomic(join(folder, name), pieces(tensors, draw, signal));
  }
  const document = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  await writeFileAtomic(join(folder, 'model.safetensors.index.json'), document({ metadata: { total_size: parameters * 2 }, weight_map: weightMap }));
  await writeFileAtomic(join(folder, 'tokenizer.json'), JSON.stringify(tokenizerOf(Number((config.text_config ?? {})['vocab_size']))));
  const size = Number(config.vision_config['image_size']);
  await writeFileAtomic(join(folder, 'preprocessor_config.json'), document({
    image_processor_type: 'BlipImageProcessor', do_resize: true, size: { height: size, width: size }, resample: 3, do_rescale: true, rescale_factor: 1 / 255,
    do_normalize: true, image_mean: [0.48145466, 0.4578275, 0.40821073], image_std: [0.26862954, 0.26130258, 0.27577711], do_convert_rgb: true,
  }));
  await writeFileAtomic(join(folder, 'generation_config.json'), document({ bos_token_id: 2, eos_token_id: 2, pad_token_id: 1 }));
  await writeFileAtomic(join(folder, 'config.json'), document({ ...config, dtype: 'bfloat16' })); // last: a folder with it is whole
  return { parameters, bytes: parameters * 2 };
}

/** In order, a new shard once one holds `most` weights. */
function sharded(tensors: readonly GraphParameter[], most: number): GraphParameter[][] {
  const shards: GraphParameter[][] = [[]];
  let held = 0;
  for (const tensor of tensors) {
    if (held >= most && shards.length < SHARDS) {
      shards.push([]);
      held = 0;
    }
    shards.at(-1)?.push(tensor);
    held += elementCount(tensor.shape);
  }
  return shards;
}

async function* pieces(tensors: readonly GraphParameter[], draw: (into: Uint16Array) => void, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, shape } of tensors) {
    const end = offset + elementCount(shape) * 2;
    header[name] = { dtype: 'BF16', shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(header), 'utf8');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  yield length;
  yield json;
  const words = new Uint16Array(PIECE);
  for (const { shape, initialiser } of tensors) {
    const size = elementCount(shape);
    for (let done = 0; done < size; done += PIECE) {
      signal?.throwIfAborted();
      const piece = words.subarray(0, Math.min(PIECE, size - done));
      if (initialiser.kind === 'constant') piece.fill(float32ToBfloat16(Float32Array.of(initialiser.value))[0] ?? 0);
      else if (initialiser.kind === 'zeros' && shape.length < 2) piece.fill(0);
      else draw(piece);
      yield new Uint8Array(piece.buffer, 0, piece.byteLength);
    }
  }
}

/** Fills with normal bf16 numbers: each 16 bits of an xorshift generator pick from a table of quantiles. */
function gaussian(seed: number): (into: Uint16Array) => void {
  const values = new Float32Array(65536);
  for (let i = 0; i < values.length; i += 2) {
    // Box and Muller over a grid of 256 radii and 128 angles.
    const radius = STD * Math.sqrt(-2 * Math.log(((i >>> 8) + 0.5) / 256));
    const angle = (2 * Math.PI * ((i & 255) + 0.5)) / 256;
    values[i] = radius * Math.cos(angle);
    values[i + 1] = radius * Math.sin(angle);
  }
  const table = float32ToBfloat16(values);
  let state = (seed * 2654435761 + 1) | 0 || 1;
  return (into) => {
    for (let i = 0; i < into.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      into[i] = table[(state >>> 8) & 65535] as number; // 65536 values
    }
  };
}

/** Bytes as tokens, the three that OPT knows, and names for all other ids. */
function tokenizerOf(vocabulary: number): unknown {
  const json = trainByteLevelBpe(['a photo of a dog'], { vocabSize: 260, specialTokens: ['<unk>', '<pad>', '</s>'], minFrequency: 1, template: '</s> $A' });
  const { model } = json;
  const known = Object.keys(model.vocab).length;
  const fillers = Array.from({ length: Math.max(0, vocabulary - known) }, (_, i): [string, number] => [`w${known + i}`, known + i]);
  return { ...json, model: { ...model, vocab: { ...model.vocab, ...Object.fromEntries(fillers) } } };
}
