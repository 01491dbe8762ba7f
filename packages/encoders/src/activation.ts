/** HuggingFace's names of activations (`ACT2FN`), as far as image encoders use them. */
import type { Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { gelu, mul, relu, sigmoid, tanh } from '@querent/graph';

const APPLY: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  gelu: (x) => gelu(x),
  gelu_new: (x) => gelu(x, 'tanh'),
  gelu_pytorch_tanh: (x) => gelu(x, 'tanh'),
  quick_gelu: (x) => mul(x, sigmoid(mul(x, 1.702))),
  relu: (x) => relu(x),
  silu: (x) => mul(x, sigmoid(x)),
  tanh: (x) => tanh(x),
};

/** The names, for schemas. */
export const ACTIVATIONS: readonly string[] = Object.keys(APPLY);

/** @throws QuerentError QRT_CONFIG_INVALID when there is no activation of that name. */
export function activation(name: string, x: Tensor): Tensor {
  const apply = Object.hasOwn(APPLY, name) ? APPLY[name] : undefined;
  if (apply === undefined) {
    throw new QuerentError('QRT_CONFIG_INVALID', `hidden_act is "${name}"; expected one of ${ACTIVATIONS.join(', ')}.`, {
      fix: 'Correct hidden_act in vision_config.',
    });
  }
  return apply(x);
}
