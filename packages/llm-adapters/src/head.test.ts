import { describe, expect, it } from 'vitest';
import { decoderOnly } from './decoder-only.ts';
import { gptNeoxFamily } from './gpt-neox.ts';
import { gpt2Family } from './gpt2.ts';
import { llamaFamily } from './llama.ts';
import { mistralFamily } from './mistral.ts';
import { optFamily } from './opt.ts';
import { qwen2Family } from './qwen2.ts';
import { t5Family } from './t5.ts';

const none = (): boolean => false;
const owns = (head: string) => (name: string): boolean => name === head;

describe.each([
  ['llama', decoderOnly<never>(llamaFamily), 'lm_head.weight'],
  ['mistral', decoderOnly<never>(mistralFamily), 'lm_head.weight'],
  ['qwen2', decoderOnly<never>(qwen2Family), 'lm_head.weight'],
  ['opt', decoderOnly<never>(optFamily), 'lm_head.weight'],
  ['gpt2', decoderOnly<never>(gpt2Family), 'lm_head.weight'],
  ['gpt_neox', decoderOnly<never>(gptNeoxFamily), 'embed_out.weight'],
])('%s', (_, plugin, head) => {
  it('takes the head that the file has, though the config says that it is tied', () => {
    expect(plugin.fit!({ tie_word_embeddings: true } as never, owns(head))).toMatchObject({ tie_word_embeddings: false });
    expect(plugin.fit!({ tie_word_embeddings: true } as never, none)).toMatchObject({ tie_word_embeddings: true });
    expect(plugin.fit!({ tie_word_embeddings: false } as never, none)).toMatchObject({ tie_word_embeddings: false });
  });
});

describe('t5', () => {
  const fit = (config: object, has: (name: string) => boolean): unknown => t5Family.fit!(config as never, has);

  it('scales in front of a head of its own when the config says that it is tied', () => {
    expect(fit({ tie_word_embeddings: true }, owns('lm_head.weight'))).toMatchObject({ tie_word_embeddings: false, scale_decoder_outputs: true });
    expect(fit({}, owns('lm_head.weight'))).toMatchObject({ tie_word_embeddings: false, scale_decoder_outputs: true });
  });

  it('does not scale in front of a tied one that the config calls its own', () => {
    expect(fit({ tie_word_embeddings: false }, none)).toMatchObject({ tie_word_embeddings: true, scale_decoder_outputs: false });
    expect(fit({ tie_word_embeddings: false }, owns('lm_head.weight'))).toEqual({ tie_word_embeddings: false });
    expect(fit({}, none)).toEqual({});
  });
});
