import { describe, expect, it } from 'vitest';
import { t5Family } from './t5.ts';

const none = (): boolean => false;
const owns = (head: string) => (name: string): boolean => name === head;

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
