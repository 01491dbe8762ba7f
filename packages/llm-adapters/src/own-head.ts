/** Which head a file means that has one of its own though its config says that the head is the embedding table. */
import type { DecoderOnlyFamily } from './decoder-only.ts';

/**
 * A head in the file is the head, whatever the config says: as HuggingFace does it (transformers 5), which unties on load when both
 * tables are there. One that equals the embeddings gives the same numbers, at the price of its memory.
 *
 * @param head name of its weight, under the model's own root
 */
export function ownHead<Config extends { readonly tie_word_embeddings?: boolean }>(head = 'lm_head.weight'): NonNullable<DecoderOnlyFamily<Config>['fit']> {
  return (config, has) => (has(head) ? { ...config, tie_word_embeddings: false } : config);
}
