/** What both architectures do alike: put [soft prompt ; prompt] together, and write a new token into a cache. */
import type { DecodeInputs, LanguageModelPrompt, Scope, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { tensorScatter } from '@querent/graph';
import { ones } from './attention.ts';

/**
 * The pieces of [soft prompt ; prompt], in order.
 * @throws QuerentError QRT_USAGE when there is neither.
 */
export function promptParts(
  g: Scope,
  inputs: LanguageModelPrompt,
  embed: (ids: Tensor) => Tensor,
): { readonly embeddings: Tensor[]; readonly masks: Tensor[] } {
  const embeddings: Tensor[] = [];
  const masks: Tensor[] = [];
  if (inputs.softPrompt !== undefined) {
    embeddings.push(inputs.softPrompt);
    masks.push(ones(inputs.softPrompt, inputs.softPrompt.shape.slice(0, 2)));
  }
  if (inputs.promptIds !== undefined) {
    embeddings.push(embed(inputs.promptIds));
    masks.push(inputs.promptMask ?? ones(inputs.promptIds, inputs.promptIds.shape));
  }
  if (embeddings.length === 0) {
    throw new QuerentError('QRT_USAGE', `Graph ${g.graph.name}: a language model was given neither a soft prompt nor prompt ids, so nothing predicts the first token.`, {
      fix: 'Pass softPrompt, promptIds (the begin-of-text id is enough), or both.',
    });
  }
  return { embeddings, masks };
}

/** Writes new tokens' keys or values into their cache and notes the result. */
export function writeCache(inputs: Pick<DecodeInputs, 'past' | 'writeIndices'>, present: Map<string, Tensor>, name: string, update: Tensor): Tensor {
  const past = inputs.past.get(name);
  if (past === undefined) throw new QuerentError('QRT_USAGE', `The decode graph was given no cache called ${name}.`, { details: [...inputs.past.keys()] });
  const written = tensorScatter(past, update, inputs.writeIndices);
  present.set(name, written);
  return written;
}
