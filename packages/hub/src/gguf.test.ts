import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isQuerentError } from '@querent/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readGguf } from './gguf.ts';
import { f32Tensor, ggufBytes, interleaveHeads, type Written, type WrittenTensor } from './gguf.test-helper.ts';
import { withoutGguf } from './gguf-load.ts';
import { readGgufModel } from './gguf-model.ts';
import { openModelFolder } from './model-folder.ts';
import { loadTensor, loadTensors, readSafetensors } from './safetensors.ts';
import { loadTokenizer } from './tokenizer.ts';

const goldens = join(dirname(fileURLToPath(import.meta.url)), '../../../test/goldens/v1');
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-gguf-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function craft(bytes: Uint8Array, name = 'a.gguf'): Promise<string> {
  await writeFile(join(folder, name), bytes);
  return join(folder, name);
}
const format = { code: 'QRT_CHECKPOINT_FORMAT' };
const u32 = (value: number): Written => ({ type: 'u32', value });
const text = (value: string): Written => ({ type: 'string', value });

const BYTE_TOKENS = ['<|endoftext|>', 'a', 'b', 'c', 'ab', 'abc', '1'];
const TOKENIZER: Record<string, Written> = {
  'tokenizer.ggml.model': text('gpt2'),
  'tokenizer.ggml.pre': text('smollm'),
  'tokenizer.ggml.tokens': { type: 'strings', value: BYTE_TOKENS },
  'tokenizer.ggml.merges': { type: 'strings', value: ['a b', 'ab c'] },
  'tokenizer.ggml.token_type': { type: 'i32s', value: [3, 1, 1, 1, 1, 1, 1] },
  'tokenizer.ggml.eos_token_id': u32(0),
};

/** A golden language model as llama.cpp would store it in float32. */
async function asGguf(name: 'llm-llama' | 'llm-gpt2'): Promise<Buffer> {
  const config = JSON.parse(await readFile(join(goldens, name, 'config.json'), 'utf8')) as Record<string, number>; // our fixture
  const loaded = await loadTensors((await readSafetensors(join(goldens, name, 'model.safetensors'))).tensors);
  const isLlama = name === 'llm-llama';
  const [heads, keyHeads] = [config['num_attention_heads']!, config['num_key_value_heads']!];
  const tensors: WrittenTensor[] = [];
  for (const [key, { shape, data }] of loaded) {
    const values = data as Float32Array; // fixtures are float32
    const place = (isLlama ? llamaName : gpt2Name)(key);
    if (place === undefined) continue;
    if (/attn_[qk]\.weight/.test(place)) tensors.push(f32Tensor(place, shape, interleaveHeads(values, shape[0]!, place.includes('attn_q.') ? heads : keyHeads)));
    else if (!isLlama && /(attn_qkv|attn_output|ffn_up|ffn_down)\.weight/.test(place)) {
      const [rows, columns] = shape as [number, number];
      tensors.push(f32Tensor(place, [columns, rows], Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!)));
    } else tensors.push(f32Tensor(place, shape, values));
  }
  const a = isLlama ? 'llama' : 'gpt2';
  return ggufBytes(
    {
      'general.architecture': text(a),
      [`${a}.embedding_length`]: u32(config['hidden_size'] ?? config['n_embd']!),
      [`${a}.block_count`]: u32(config['num_hidden_layers'] ?? config['n_layer']!),
      [`${a}.feed_forward_length`]: u32(config['intermediate_size'] ?? config['n_inner'] ?? 4 * config['n_embd']!),
      [`${a}.attention.head_count`]: u32(heads ?? config['n_head']!),
      ...(isLlama ? { [`${a}.attention.head_count_kv`]: u32(keyHeads), [`${a}.attention.layer_norm_rms_epsilon`]: { type: 'f32', value: config['rms_norm_eps']! } as const } : {}),
      [`${a}.context_length`]: u32(config['max_position_embeddings'] ?? config['n_positions']!),
      ...TOKENIZER,
    },
    tensors,
  );
}

function llamaName(key: string): string | undefined {
  const names: Record<string, string> = { 'self_attn.q_proj': 'attn_q', 'self_attn.k_proj': 'attn_k', 'self_attn.v_proj': 'attn_v', 'self_attn.o_proj': 'attn_output', 'mlp.gate_proj': 'ffn_gate', 'mlp.up_proj': 'ffn_up', 'mlp.down_proj': 'ffn_down', input_layernorm: 'attn_norm', post_attention_layernorm: 'ffn_norm' };
  const top: Record<string, string> = { 'model.embed_tokens.weight': 'token_embd.weight', 'model.norm.weight': 'output_norm.weight', 'lm_head.weight': 'output.weight' };
  const [, layer, part] = /^model\.layers\.(\d+)\.(.*)\.weight$/.exec(key) ?? [];
  return top[key] ?? (part === undefined ? undefined : `blk.${layer}.${names[part]}.weight`);
}

function gpt2Name(key: string): string | undefined {
  const names: Record<string, string> = { ln_1: 'attn_norm', 'attn.c_attn': 'attn_qkv', 'attn.c_proj': 'attn_output', ln_2: 'ffn_norm', 'mlp.c_fc': 'ffn_up', 'mlp.c_proj': 'ffn_down' };
  const top: Record<string, string> = { 'transformer.wte.weight': 'token_embd.weight', 'transformer.wpe.weight': 'position_embd.weight', 'transformer.ln_f.weight': 'output_norm.weight', 'transformer.ln_f.bias': 'output_norm.bias' };
  const [, layer, part, kind] = /^transformer\.h\.(\d+)\.(.*)\.(weight|bias)$/.exec(key) ?? [];
  return top[key] ?? (part === undefined ? undefined : `blk.${layer}.${names[part]}.${kind}`);
}

describe('a language model', () => {
  test.each(['llm-llama', 'llm-gpt2'] as const)('%s has the tensors and the config of the checkpoint that it was made from', async (name) => {
    const model = await readGgufModel(await craft(await asGguf(name), `${name}.gguf`));
    const config = JSON.parse(await readFile(join(goldens, name, 'config.json'), 'utf8')) as Record<string, unknown>;
    for (const key of ['model_type', 'vocab_size', 'hidden_size', 'n_embd', 'intermediate_size', 'num_hidden_layers', 'n_layer', 'num_attention_heads', 'num_key_value_heads']) {
      if (config[key] !== undefined) expect([key, model.config[key]]).toEqual([key, config[key]]);
    }
    const wanted = await loadTensors((await readSafetensors(join(goldens, name, 'model.safetensors'))).tensors);
    const got = await loadTensors(model.parameters);
    for (const [key, { shape, data }] of got) {
      const original = wanted.get(key)!;
      expect([key, shape]).toEqual([key, original.shape]);
      expect(data.every((value, i) => value === original.data[i]), key).toBe(true);
    }
    expect(got.size).toBeGreaterThan(10);
    for (const [key, { shape }] of await withoutGguf(model.parameters)) expect(shape).toEqual(wanted.get(key)?.shape);
    for (const key of got.keys()) expect((await loadTensor(model.parameters.get(key)!)).shape).toEqual(wanted.get(key)?.shape);
  });

  test('a file, and a folder that holds one, open as a model folder with the tokenizer inside', async () => {
    const bytes = await asGguf('llm-llama');
    const file = await craft(bytes, 'alone.gguf');
    const { config, parameters, tokenizerFile } = await openModelFolder(file);
    expect(config['model_type']).toBe('llama');
    expect(parameters.size).toBeGreaterThan(10);
    expect(tokenizerFile).toBe(file);
    const tokenizer = await loadTokenizer(file);
    expect(tokenizer.encode('abca11<|endoftext|>')).toEqual([5, 1, 6, 6, 0]); // digits stay apart
    expect(tokenizer.decode([5, 1, 6, 0], { skipSpecialTokens: true })).toBe('abca1');
    const inner = await mkdtemp(join(folder, 'inner-'));
    await writeFile(join(inner, 'model.gguf'), bytes);
    expect((await openModelFolder(inner)).config).toEqual(config);
    await writeFile(join(inner, 'tokenizer.json'), '{}');
    expect((await openModelFolder(inner)).tokenizerFile).toBe(join(inner, 'tokenizer.json'));
  });

  test('an unknown architecture, and a tokenizer that is not rebuilt, are refused with the way out', async () => {
    const other = await craft(ggufBytes({ 'general.architecture': text('constructor') }, []));
    await expect(readGgufModel(other)).rejects.toMatchObject({ code: 'QRT_MODEL_UNSUPPORTED' });
    const sentencePiece = await craft(ggufBytes({ ...TOKENIZER, 'tokenizer.ggml.model': text('llama') }, []));
    await expect(loadTokenizer(sentencePiece)).rejects.toMatchObject({ code: 'QRT_TOKENIZER', fix: expect.stringContaining('tokenizer.json') });
    const rule = await craft(ggufBytes({ ...TOKENIZER, 'tokenizer.ggml.pre': text('new') }, []));
    await expect(loadTokenizer(rule)).rejects.toMatchObject({ code: 'QRT_TOKENIZER' });
    await expect(openModelFolder(join(folder, 'nowhere.gguf'))).rejects.toMatchObject({ code: 'QRT_FILE' });
  });
});

describe('what a file says is checked before it is believed', () => {
  const tensor = (change: Partial<WrittenTensor>): WrittenTensor => ({ ...f32Tensor('x', [2, 4], new Float32Array(8)), ...change });
  test.each<readonly [string, () => Buffer]>([
    ['another magic', () => Buffer.from('NOPE'.repeat(10))],
    ['version 1', () => ggufBytes({}, [], 1)],
    ['big-endian', () => ggufBytes({}, [], 0x03000000)],
    ['an unknown type', () => ggufBytes({}, [tensor({ type: 4 })])],
    ['a shape larger than the file', () => ggufBytes({}, [tensor({ shape: [2 ** 20, 2 ** 20] })])],
    ['a shape beyond numbers', () => ggufBytes({}, [tensor({ shape: [2 ** 40, 2 ** 40] })])],
    ['an empty axis', () => ggufBytes({}, [tensor({ shape: [0, 4] })])],
    ['too many axes', () => ggufBytes({}, [tensor({ shape: [1, 1, 1, 2, 4] })])],
    ['an offset outside', () => ggufBytes({}, [tensor({ offset: 1 << 20 })])],
    ['an offset that is not aligned', () => ggufBytes({}, [tensor({ offset: 4 })])],
    ['rows that are not whole blocks', () => ggufBytes({}, [tensor({ type: 2 })])],
    ['two tensors in one place', () => ggufBytes({}, [tensor({}), tensor({ name: 'y', offset: 0 })])],
    ['one tensor twice', () => ggufBytes({}, [tensor({}), tensor({})])],
    ['an alignment of 0', () => ggufBytes({ 'general.alignment': u32(0) }, [])],
  ])('%s', async (_what, bytes) => {
    await expect(readGguf(await craft(bytes()))).rejects.toMatchObject(format);
  });

  test('counts and lengths beyond the file are refused without reserving memory for them', async () => {
    for (const at of [8, 16, 24]) {
      const bytes = ggufBytes({ 'general.architecture': text('llama') }, []);
      bytes.writeBigUInt64LE(2n ** 52n, at); // tensors, entries, the first key's length
      await expect(readGguf(await craft(bytes))).rejects.toMatchObject(format);
      bytes.writeBigUInt64LE(2n ** 64n - 1n, at);
      await expect(readGguf(await craft(bytes))).rejects.toMatchObject(format);
    }
  });

  test('a file cut anywhere, or with any bytes changed, is read or refused with a code', async () => {
    const real = await asGguf('llm-llama');
    const outcome = async (bytes: Uint8Array): Promise<void> => {
      const file = await craft(bytes, 'mutated.gguf');
      try {
        const { parameters } = await readGgufModel(file);
        const total = [...parameters.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
        expect(total).toBeLessThanOrEqual(bytes.length);
        const [first] = parameters.values();
        if (first !== undefined) await loadTensor(first);
        await loadTokenizer(file);
      } catch (error) {
        expect(isQuerentError(error), String(error)).toBe(true);
      }
    };
    const header = real.length - 40_000 > 0 ? 3000 : real.length;
    await fc.assert(
      fc.asyncProperty(fc.nat(real.length - 1), (length) => outcome(real.subarray(0, length))),
      { numRuns: 60 },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(header - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }), (changes) => {
        const bytes = Buffer.from(real);
        for (const [at, value] of changes) bytes[at] = value;
        return outcome(bytes);
      }),
      { numRuns: 150 },
    );
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), (bytes) => outcome(Buffer.concat([Buffer.from('GGUF\x03\0\0\0', 'latin1'), bytes]))), { numRuns: 100 });
  });
});
