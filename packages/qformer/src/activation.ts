/** HuggingFace's names of activations (`ACT2FN`), as far as Q-Formers use them. */
import type { Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { gelu, mul, relu, sigmoid } from '@querent/graph';

const ACTIVATIONS: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  gelu: (x) => gelu(x),
  gelu_new: (x) => gelu(x, 'tanh'),
  gelu_pytorch_tanh: (x) => gelu(x, 'tanh'),
  quick_gelu: (x) => mul(x, sigmoid(mul(x, 1.702))),
  relu: (x) => relu(x),
};

/** @throws QuerentError QRT_CONFIG_INVALID when there is no activation of that name. */
export function activation(name: string, x: Tensor): Tensor {
  const apply = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (apply === undefined) {
    throw new QuerentError('QRT_CONFIG_INVALID', `hidden_act is "${name}"; expected one of ${Object.keys(ACTIVATIONS).join(', ')}.`, {
      fix: 'Correct hidden_act in the config.',
    });
  }
  return apply(x);
}
