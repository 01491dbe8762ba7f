/**
 * docs/new-language-model.md on files as small as they go: a trained bridge is aligned to a language model that it has never met, which
 * is a GGUF file with its own tokenizer and another width; the trained folder captions and is judged.
 */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadTokenizer, openModelFolder, trainByteLevelBpe } from '@querent/hub';
import type { RecipeEvent } from '@querent/training';
import { createQuerent, pipeline } from 'querent';
import { train } from 'querent/train';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { f32Tensor, ggufBytes, interleaveHeads } from '../../packages/hub/src/gguf.test-helper.ts';
import type { WrittenTensor } from '../../packages/hub/src/gguf.test-helper.ts';
import { createTextEncoder } from '../../packages/training/src/data/encode-text.ts';
import { STAGE2_RECIPE, createTinyWorld } from '../../packages/training/src/tiny-world.test-helper.ts';
import { ROOT, querent, temporary } from './command-line.ts';

const [WIDTH, HEADS, FEED_FORWARD] = [32, 2, 64];
const SPECIALS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];

let folder: Awaited<ReturnType<typeof temporary>>;
const at = (...path: string[]): string => join(folder.path, ...path);
let session: Awaited<ReturnType<typeof createQuerent>>;

/** Runs a recipe of the folder. */
async function run(recipe: string, out: string): Promise<RecipeEvent[]> {
  const events: RecipeEvent[] = [];
  for await (const event of train(session, at(recipe), { data: folder.path, out: at(out), cache: at('cache') })) events.push(event);
  return events;
}

beforeAll(async () => {
  folder = await temporary();
  session = await createQuerent({ threads: 1 });
  await createTinyWorld(folder.path);
  await writeFile(at('lm.gguf'), tinyGguf());
  const { qformer_config, num_query_tokens, image_text_hidden_size, vision_layer_norm, ...begun } = STAGE2_RECIPE;
  await writeFile(at('first.json'), JSON.stringify({ ...begun, qformer_config, num_query_tokens, image_text_hidden_size, vision_layer_norm, epochs: 1 }));
  const align = { ...begun, language_model: 'lm.gguf', init: 'first/model', prompt: { text: 'a photo of', share: 1 }, initRate: 0.5, dropout: 0, epochs: 6 };
  await writeFile(at('align.json'), JSON.stringify(align));
  await run('first.json', 'first');
});
afterAll(async () => {
  await session[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

describe('a new language model from a GGUF file', () => {
  it('learns to be spoken to: a projection of another width begins anew, the rest goes on', async () => {
    const events = await run('align.json', 'aligned');
    expect(events).toContainEqual({ type: 'note', text: expect.stringContaining('width 16; this one has 32: it begins anew') as string });
    const losses = events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));
    expect(losses.at(-1)!).toBeLessThan(losses[0]!);
  });

  it('is named by the trained folder and not copied into it', async () => {
    const config = JSON.parse(await readFile(at('aligned/model/config.json'), 'utf8')) as Record<string, unknown>; // just written
    expect(config['text_config']).toEqual({ from: '../../lm.gguf' });
    expect(config['prompts']).toEqual({ caption: 'a photo of' });
    const model = await openModelFolder(at('aligned/model'));
    expect(model.parameters.get('language_projection.weight')?.shape).toEqual([WIDTH, 16]);
    expect((await stat(at('aligned/model/model.safetensors'))).size).toBeLessThan((await stat(at('first/model/model.safetensors'))).size + WIDTH * 17 * 4);
  });

  it('captions and is judged like any other', { timeout: 240_000 }, async () => {
    const picture = at('pictures/red-left.png');
    const { code, stdout } = await querent(['caption', '--model', at('aligned/model'), picture, '--json']);
    expect(code).toBe(0);
    const { text } = JSON.parse(stdout) as { readonly text: string };
    const caption = await pipeline('caption', { model: at('aligned/model') });
    expect((await caption(picture)).text).toBe(text);
    await caption.dispose();

    const judged = await querent(['evaluate', 'caption', '--model', at('aligned/model'), '--images', at('pictures'), '--annotations', at('annotations.json'), '--json']);
    expect(judged.code).toBe(0);
    expect(JSON.parse(judged.stdout)).toMatchObject({ images: 8 });
  });

  it('is refused before any picture is read when it is not there, or has no tokenizer', async () => {
    const recipe = JSON.parse(await readFile(at('align.json'), 'utf8')) as object; // just written
    const mute = tinyGguf({ 'tokenizer.ggml.model': { type: 'string', value: 'llama' } });
    for (const [file, bytes, code] of [['missing.gguf', undefined, 'QRT_FILE'], ['mute.gguf', mute, 'QRT_TOKENIZER']] as const) {
      if (bytes !== undefined) await writeFile(at(file), bytes);
      await writeFile(at('other.json'), JSON.stringify({ ...recipe, language_model: file, images: 'nowhere' }));
      await expect(run('other.json', 'other')).rejects.toMatchObject({ code, message: expect.stringContaining(file) as string });
    }
  });
});

it('a caption that goes on from a prompt has the tokens that it has within the whole text', async () => {
  const tokenizer = await loadTokenizer(at('lm.gguf'));
  const captions = ['a red box stands on the left', 'on the right there is a blue box'];
  const encode = createTextEncoder(tokenizer, captions, 'a photo of');
  const plain = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });
  for (const caption of captions) {
    expect([...plain('a photo of'), ...encode(caption)]).toEqual(plain(`a photo of ${caption}`));
    expect(encode(caption)).not.toEqual(plain(caption)); // this vocabulary tells a blank before a word
    expect(createTextEncoder(tokenizer, captions)(caption)).toEqual(plain(caption));
  }
});

it('one line of the recipe is all that differs between a decoder-only and an encoder-decoder language model', async () => {
  const [causal = [], other = []] = await Promise.all(['mini-stage2.json', 'mini-stage2-t5.json'].map(async (name) => (await readFile(join(ROOT, 'recipes', name), 'utf8')).split('\n')));
  expect(other).toHaveLength(causal.length);
  expect(causal.flatMap((line, i) => (line === other[i] ? [] : [line.trim(), other[i]!.trim()]))).toEqual(['"language_model": "../runs/mini-lm/model",', '"language_model": "../runs/mini-t5/model",']);
});

/** A LLaMA of one layer with drawn weights as llama.cpp stores it, its feed-forward block in Q8_0, and a vocabulary that knows blanks. */
function tinyGguf(change: Parameters<typeof ggufBytes>[0] = {}): Buffer {
  const { vocab, merges } = trainByteLevelBpe(['a photo of a red box on the left', 'a blue box stands on the right', 'there is a green box'], { vocabSize: 300, specialTokens: SPECIALS, addPrefixSpace: false }).model;
  const tokens = Object.keys(vocab);
  let state = 1;
  const drawn = (count: number): Float32Array => Float32Array.from({ length: count }, () => ((state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31 - 0.5) * 0.2);
  const matrix = (name: string, rows: number, columns: number): WrittenTensor => f32Tensor(name, [rows, columns], drawn(rows * columns));
  const rotated = (name: string): WrittenTensor => f32Tensor(name, [WIDTH, WIDTH], interleaveHeads(drawn(WIDTH * WIDTH), WIDTH, HEADS));
  const blocks = (name: string, rows: number, columns: number): WrittenTensor => ({ name, type: 8, shape: [rows, columns], bytes: q8Blocks(drawn(rows * columns)) });
  const ones = (name: string): WrittenTensor => f32Tensor(name, [WIDTH], new Float32Array(WIDTH).fill(1));
  const count = (value: number) => ({ type: 'u32', value }) as const;
  return ggufBytes(
    {
      'general.architecture': { type: 'string', value: 'llama' },
      'llama.embedding_length': count(WIDTH),
      'llama.feed_forward_length': count(FEED_FORWARD),
      'llama.block_count': count(1),
      'llama.attention.head_count': count(HEADS),
      'llama.context_length': count(64),
      'llama.attention.layer_norm_rms_epsilon': { type: 'f32', value: 1e-5 },
      'tokenizer.ggml.model': { type: 'string', value: 'gpt2' },
      'tokenizer.ggml.pre': { type: 'string', value: 'smollm' },
      'tokenizer.ggml.tokens': { type: 'strings', value: tokens },
      'tokenizer.ggml.merges': { type: 'strings', value: merges },
      'tokenizer.ggml.token_type': { type: 'i32s', value: tokens.map((token) => (SPECIALS.includes(token) ? 3 : 1)) },
      'tokenizer.ggml.bos_token_id': count(1),
      'tokenizer.ggml.eos_token_id': count(2),
      ...change,
    },
    [
      matrix('token_embd.weight', tokens.length, WIDTH),
      ones('blk.0.attn_norm.weight'), rotated('blk.0.attn_q.weight'), rotated('blk.0.attn_k.weight'), matrix('blk.0.attn_v.weight', WIDTH, WIDTH), matrix('blk.0.attn_output.weight', WIDTH, WIDTH),
      ones('blk.0.ffn_norm.weight'), blocks('blk.0.ffn_gate.weight', FEED_FORWARD, WIDTH), blocks('blk.0.ffn_up.weight', FEED_FORWARD, WIDTH), blocks('blk.0.ffn_down.weight', WIDTH, FEED_FORWARD),
      ones('output_norm.weight'),
    ],
  );
}

/** Blocks of 32: a float16 scale, here always 2⁻⁹, and 32 signed bytes. */
function q8Blocks(values: Float32Array): Uint8Array {
  const bytes = Buffer.alloc((values.length / 32) * 34);
  values.forEach((value, i) => {
    const block = Math.floor(i / 32) * 34;
    bytes.writeUInt16LE((15 - 9) << 10, block);
    bytes.writeInt8(Math.round(value * 2 ** 9), block + 2 + (i % 32));
  });
  return bytes;
}
