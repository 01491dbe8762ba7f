/**
 * Gradients as a graph transform: `grad` walks back from a loss and appends the operators that compute its derivative.
 * Nothing is computed for what was not asked for: a frozen layer passes gradients on and gets none for its weights.
 * The rules, one per operator, are in `rules/`.
 */
import type { Node, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { printShape } from '../dims.ts';
import { builderOf } from '../graph.ts';
import { add } from '../ops/elementwise.ts';
import { scalar } from '../ops/op.ts';
import { filled } from '../ops/shaping.ts';
import type { AddedGradient, GradientRule, RuleContext } from './rule.ts';
import { complete, noGradient } from './rule.ts';
import { convolutionRules } from './rules/convolution.ts';
import { elementwiseRules } from './rules/elementwise.ts';
import { linearAlgebraRules } from './rules/linear-algebra.ts';
import { neuralRules } from './rules/neural.ts';
import { shapingRules } from './rules/shaping.ts';

/** op_type → rule. Operators with `null` stop gradients: their result is an integer or piecewise constant. */
export const GRADIENT_RULES: Readonly<Record<string, GradientRule | null>> = {
  ...elementwiseRules,
  ...linearAlgebraRules,
  ...neuralRules,
  ...convolutionRules,
  ...shapingRules,
  ...Object.fromEntries(
    ['Shape', 'Size', 'ArgMax', 'Equal', 'Less', 'Greater', 'LessOrEqual', 'GreaterOrEqual', 'And', 'Or', 'Xor', 'Not', 'Range', 'OneHot', 'ConstantOfShape', 'Sign', 'Floor', 'Ceil', 'Round'].map(
      (op) => [op, null],
    ),
  ),
};

/** Operators whose rules take gradients of more than the first output. */
const SEVERAL_OUTPUTS: ReadonlySet<string> = new Set(['Split', 'SoftmaxCrossEntropyLoss']);

/**
 * Appends the gradients of a scalar `loss` with respect to `wrt` (inputs, parameters or inner tensors of the same graph).
 * The result has `wrt`'s order and shapes; a tensor on which the loss does not depend gets zeros.
 * @throws QuerentError QRT_GRAPH_GRADIENT when the loss is no scalar, or an operator on the way has no gradient.
 */
export function grad(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  if (loss.shape.length !== 0) {
    throw new QuerentError('QRT_GRAPH_GRADIENT', `A gradient starts from a scalar; ${loss.name} is ${printShape(loss.shape)}.`, { fix: 'Reduce it, for instance with reduceMean.' });
  }
  const builder = builderOf(loss);
  const nodes = [...builder.nodes]; // the backward nodes are appended behind these
  const wanted = reached(nodes, wrt);
  /** Sums so far: a part is added as soon as it is there, so that an engine need not hold all of them. */
  const gradients = new Map<string, Tensor>([[loss.name, scalar(loss, 1)]]);
  const total = (x: Tensor): Tensor | undefined => gradients.get(x.name);
  const accumulate = (x: Tensor, part: Tensor | AddedGradient): void => {
    const sum = gradients.get(x.name);
    if (typeof part === 'function') gradients.set(x.name, part(sum === undefined ? undefined : complete(sum, x.shape)));
    else gradients.set(x.name, sum === undefined ? part : add(sum, part));
  };

  for (const node of nodes.reverse()) {
    if (!node.outputs.some((output) => gradients.has(output.name)) || !node.inputs.some((input) => input !== null && wanted.has(input.name))) continue;
    const rule = GRADIENT_RULES[node.opType];
    if (rule === null) continue;
    if (rule === undefined) throw noGradient(node, 'there is no rule for this operator.');
    const other = node.outputs.findIndex((output, i) => i > 0 && gradients.has(output.name));
    if (other > 0 && !SEVERAL_OUTPUTS.has(node.opType)) throw noGradient(node, `the loss reads its output ${other}, and only its first one has a gradient.`);
    const results = rule(contextOf(node, wanted, total));
    node.inputs.forEach((input, i) => {
      const result = results[i];
      if (input === null || result === null || result === undefined || !wanted.has(input.name)) return;
      accumulate(input, result);
    });
  }
  return wrt.map((x) => {
    const sum = total(x);
    return sum === undefined ? filled(x, x.shape, 0) : complete(sum, x.shape);
  });
}

/** Names of all floating-point tensors that depend on `wrt`, themselves included. */
function reached(nodes: readonly Node[], wrt: readonly Tensor[]): ReadonlySet<string> {
  const names = new Set(wrt.map((x) => x.name));
  for (const node of nodes) {
    if (GRADIENT_RULES[node.opType] === null) continue;
    if (!node.inputs.some((input) => input !== null && names.has(input.name))) continue;
    for (const output of node.outputs) if (output.dtype.startsWith('float') || output.dtype === 'bfloat16') names.add(output.name);
  }
  return names;
}

function contextOf(node: Node, wanted: ReadonlySet<string>, total: (x: Tensor) => Tensor | undefined): RuleContext {
  const input = (index: number): Tensor => {
    const x = node.inputs[index];
    if (x === null || x === undefined) throw noGradient(node, `its input ${index} is absent.`);
    return x;
  };
  const full = new Map<number, Tensor>();
  return {
    node,
    x: input,
    y: (index) => node.outputs[index]!,
    needs: (index) => {
      const x = node.inputs[index];
      return x !== null && x !== undefined && wanted.has(x.name);
    },
    dyCompact: (index) => total(node.outputs[index]!),
    dy: (index) => {
      const known = full.get(index);
      if (known !== undefined) return known;
      const output = node.outputs[index]!;
      const sum = total(output);
      if (sum === undefined) return undefined;
      const completed = complete(sum, output.shape);
      full.set(index, completed);
      return completed;
    },
  };
}
