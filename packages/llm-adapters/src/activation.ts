/** HuggingFace's names of activations (`ACT2FN`), as far as language models use them. */
import type { Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { gelu, mul, relu, sigmoid } from '@querent/graph';

const silu = (x: Tensor): Tensor => mul(x, sigmoid(x));

const APPLY: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  gelu: (x) => gelu(x, 'none'),
  gelu_fast: (x) => gelu(x, 'tanh'),
  gelu_new: (x) => gelu(x, 'tanh'),
  gelu_pytorch_tanh: (x) => gelu(x, 'tanh'),
  quick_gelu: (x) => mul(x, sigmoid(mul(x, 1.702))),
  relu,
  silu,
  swish: silu,
};

/** The names, for schemas. */
export const ACTIVATIONS: readonly string[] = Object.keys(APPLY);

/** @throws QuerentError QRT_CONFIG_INVALID when there is no activation of that name. */
export function activation(name: string, x: Tensor): Tensor {
  const apply = Object.hasOwn(APPLY, name) ? APPLY[name] : undefined;
  if (apply === undefined) {
    throw new QuerentError('QRT_CONFIG_INVALID', `The activation is "${name}"; expected one of ${ACTIVATIONS.join(', ')}.`, { fix: 'Correct it in the config of the language model.' });
  }
  return apply(x);
}
