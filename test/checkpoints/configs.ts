/**
 * `config.json` of the published checkpoints, in the spelling that they have on the hub (`torch_dtype`, `rope_theta`), reduced to the keys
 * that decide names and shapes. What a class has by default the files leave out, and so do these.
 */

const vision = { model_type: 'blip_2_vision_model', hidden_size: 1408, num_hidden_layers: 39, num_attention_heads: 16, intermediate_size: 6144, image_size: 224, patch_size: 14, hidden_act: 'gelu', qkv_bias: true };
const qformer = { model_type: 'blip_2_qformer', vocab_size: 30522, encoder_hidden_size: 1408 };
const opt = { model_type: 'opt', vocab_size: 50304, max_position_embeddings: 2048, word_embed_proj_dim: 2560, hidden_size: 2560, ffn_dim: 10240, num_hidden_layers: 32, num_attention_heads: 32, bos_token_id: 2, eos_token_id: 50118, pad_token_id: 1 };
const t5 = { model_type: 't5', vocab_size: 32128, d_model: 2048, d_kv: 64, d_ff: 5120, num_layers: 24, num_decoder_layers: 24, num_heads: 32, feed_forward_proj: 'gated-gelu', relative_attention_num_buckets: 32, tie_word_embeddings: false, decoder_start_token_id: 0, eos_token_id: 1, pad_token_id: 0 };

const blip2 = (text_config: object): object => ({ model_type: 'blip-2', architectures: ['Blip2ForConditionalGeneration'], torch_dtype: 'float32', num_query_tokens: 32, vision_config: vision, qformer_config: qformer, text_config });

/** By name on the hub. */
export const PUBLISHED_CONFIGS: Readonly<Record<string, object>> = {
  'Salesforce/blip2-opt-2.7b': blip2(opt),
  'Salesforce/blip2-opt-6.7b': blip2({ ...opt, hidden_size: 4096, word_embed_proj_dim: 4096, ffn_dim: 16384 }),
  'Salesforce/blip2-flan-t5-xl': blip2(t5),
  'Salesforce/blip2-flan-t5-xxl': blip2({ ...t5, d_model: 4096, d_ff: 10240, num_heads: 64 }),
  'Salesforce/blip2-itm-vit-g': {
    model_type: 'blip-2',
    architectures: ['Blip2ForImageTextRetrieval'],
    num_query_tokens: 32,
    image_text_hidden_size: 256,
    vision_config: vision,
    qformer_config: { ...qformer, vocab_size: 30523, use_qformer_text_input: true },
    text_config: { model_type: 'opt' },
  },
  'Salesforce/instructblip-vicuna-7b': {
    model_type: 'instructblip',
    architectures: ['InstructBlipForConditionalGeneration'],
    num_query_tokens: 32,
    vision_config: { ...vision, model_type: 'instructblip_vision_model' },
    qformer_config: { ...qformer, model_type: 'instructblip_qformer', vocab_size: 30523 },
    text_config: { model_type: 'llama', vocab_size: 32001, hidden_size: 4096, intermediate_size: 11008, num_hidden_layers: 32, num_attention_heads: 32, rms_norm_eps: 1e-6, tie_word_embeddings: false, bos_token_id: 1, eos_token_id: 2, pad_token_id: 32000 },
  },
  'Salesforce/blip-image-captioning-large': {
    model_type: 'blip',
    architectures: ['BlipForConditionalGeneration'],
    projection_dim: 512,
    image_text_hidden_size: 256,
    vision_config: { model_type: 'blip_vision_model', hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 24, num_attention_heads: 16, image_size: 384, patch_size: 16 },
    text_config: { model_type: 'blip_text_model', vocab_size: 30524, hidden_size: 768, encoder_hidden_size: 1024, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12, max_position_embeddings: 512, bos_token_id: 30522, sep_token_id: 102, eos_token_id: 2, pad_token_id: 0 },
  },
  'openai/clip-vit-large-patch14': {
    model_type: 'clip',
    architectures: ['CLIPModel'],
    projection_dim: 768,
    vision_config: { model_type: 'clip_vision_model', hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 24, num_attention_heads: 16, image_size: 224, patch_size: 14, projection_dim: 768 },
    text_config: { model_type: 'clip_text_model', vocab_size: 49408, hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12, max_position_embeddings: 77, projection_dim: 768 },
  },
};
