/** Gradients of the operators that move and select: each puts the gradient back where the element came from. */
import type { Dim, Tensor } from '@querent/core';
import { addDims, countElements, subtractDims } from '../../dims.ts';
import { constantNumbers, int, op1, text } from '../../ops/op.ts';
import { reduceSum } from '../../ops/reductions.ts';
import { concat, filled, gatherElements, range, reshape, scatterElements, slice, sliceStart, transpose, unsqueeze } from '../../ops/shaping.ts';
import { normaliseAxis } from '../../shape.ts';
import type { GradientRule, RuleContext } from '../rule.ts';
import { intOf, intsOf, noGradient, textOf, unbroadcast } from '../rule.ts';

const reshaped: GradientRule = (c) => [reshape(c.dy(0)!, c.x(0).shape), null];

/** Zeros of `x`'s shape but for `size` along `axis`. */
function zerosAlong(x: Tensor, axis: number, size: Dim): Tensor {
  return filled(x, x.shape.map((dim, i) => (i === axis ? size : dim)), 0);
}

/** `gradient` with zeros before and after it along `axis`, up to the shape of `x`. */
function embed(gradient: Tensor, x: Tensor, axis: number, start: Dim): Tensor {
  const after = subtractDims(subtractDims(x.shape[axis]!, start), gradient.shape[axis]!);
  const parts: Tensor[] = [];
  if (start !== 0) parts.push(zerosAlong(x, axis, start));
  parts.push(gradient);
  if (after !== 0) parts.push(zerosAlong(x, axis, after));
  return concat(parts, axis);
}

/** Adds each row of dy to the row it was gathered from. */
const gatherRule: GradientRule = (c) => {
  const [x, indices, dy] = [c.x(0), c.x(1), c.dy(0)!];
  const axis = normaliseAxis(intOf(c.node, 'axis', 0), x.shape.length);
  const fixed = constantNumbers(indices);
  if (indices.shape.length === 0 && fixed !== undefined && fixed[0]! >= 0) {
    return [embed(unsqueeze(dy, [axis]), x, axis, fixed[0]!), null]; // one row: zeros around it
  }
  const ranks = { before: axis, picked: indices.shape.length, after: x.shape.length - axis - 1 };
  const order = [...Array(dy.shape.length).keys()];
  const pickedFirst = [...order.slice(axis, axis + ranks.picked), ...order.slice(0, axis), ...order.slice(axis + ranks.picked)];
  const scatter = (onto: Tensor, updates: Tensor): Tensor => op1('ScatterND', [onto, unsqueeze(indices, [-1]), updates], { attributes: { reduction: text('add') } });
  // A vocabulary's gradient is large and several texts, and its own head, add to it: none of them makes another one.
  if (axis === 0) return [(sum) => scatter(sum ?? filled(x, x.shape, 0), dy), null];
  const axes = [...Array(x.shape.length).keys()];
  const axisFirst = [axis, ...axes.filter((i) => i !== axis)];
  const summed = scatter(filled(x, axisFirst.map((i) => x.shape[i]!), 0), transpose(dy, pickedFirst)); // [picked…, before…, after…]
  return [transpose(summed, axisFirst.map((_, i) => axisFirst.indexOf(i))), null];
};

const splitRule: GradientRule = (c) => {
  const axis = normaliseAxis(intOf(c.node, 'axis', 0), c.x(0).shape.length);
  const parts = c.node.outputs.map((output, i) => c.dy(i) ?? filled(output, output.shape, 0));
  return [concat(parts, axis), null];
};

const concatRule: GradientRule = (c) => {
  const dy = c.dy(0)!;
  const axis = normaliseAxis(intOf(c.node, 'axis', 0), dy.shape.length);
  let start: Dim = 0;
  return c.node.inputs.map((input, i) => {
    if (input === null) return null;
    const end = addDims(start, input.shape[axis]!);
    const part = c.needs(i) ? slice(dy, axis, start, end) : null;
    start = end;
    return part;
  });
};

/**
 * One axis with a start that is known: zeros before and after. Any other slice (several axes, steps, bounds of a graph that was
 * read from a file) is taken once more of the elements' places, and the gradient is put back there.
 */
const sliceRule: GradientRule = (c) => {
  const [x, dy] = [c.x(0), c.dy(0)!];
  const start = sliceStart(c.node);
  if (start !== undefined) return [embed(dy, x, start.axis, start.start), null, null, null, null];
  const count = countElements(x.shape);
  const places = reshape(range(x, count), x.shape);
  const [, ...bounds] = c.node.inputs;
  const taken = op1('Slice', [places, ...bounds], { outputs: [{ dtype: 'int64', shape: dy.shape }] });
  const spread = scatterElements(filled(x, [count], 0), reshape(taken, [-1]), reshape(dy, [-1]), 0);
  return [reshape(spread, x.shape), null, null, null, null];
};

function scatterRule(c: RuleContext): (Tensor | null)[] {
  const axis = intOf(c.node, 'axis', 0);
  const dy = c.dy(0)!;
  const reduction = textOf(c.node, 'reduction', 'none');
  if (reduction !== 'none' && reduction !== 'add') throw noGradient(c.node, `with reduction ${reduction} there is none.`);
  const isAdd = reduction === 'add';
  const [indices, updates] = [c.x(1), c.x(2)];
  return [
    !c.needs(0) ? null : isAdd ? dy : scatterElements(dy, indices, filled(updates, updates.shape, 0), axis),
    null,
    c.needs(2) ? gatherElements(dy, indices, axis) : null,
  ];
}

export const shapingRules: Readonly<Record<string, GradientRule>> = {
  Reshape: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Flatten: reshaped,
  Transpose: (c) => {
    const perm = intsOf(c.node, 'perm') ?? c.x(0).shape.map((_, i, all) => all.length - 1 - i);
    return [transpose(c.dy(0)!, perm.map((_, axis) => perm.indexOf(axis)))];
  },
  Expand: (c) => [unbroadcast(c.dy(0)!, c.x(0).shape), null],
  Concat: concatRule,
  Split: splitRule,
  Slice: sliceRule,
  Gather: gatherRule,
  GatherElements: (c) => [
    scatterElements(filled(c.x(0), c.x(0).shape, 0), c.x(1), c.dy(0)!, intOf(c.node, 'axis', 0), 'add'),
    null,
  ],
  ScatterElements: scatterRule,
  Trilu: (c) => [op1('Trilu', [c.dy(0)!, ...c.node.inputs.slice(1)], { attributes: { upper: int(intOf(c.node, 'upper', 1)) } }), null],
  Pad: (c) => {
    const x = c.x(0);
    const pads = constantNumbers(c.x(1));
    if (pads === undefined || pads.some((n) => n < 0)) throw noGradient(c.node, 'its pads are not constants of at least 0.');
    if (textOf(c.node, 'mode', 'constant') !== 'constant' || (c.node.inputs[3] ?? null) !== null) throw noGradient(c.node, 'only constant padding of all axes has one.');
    return [x.shape.reduce<Tensor>((dy, dim, axis) => slice(dy, axis, pads[axis]!, addDims(pads[axis]!, dim)), c.dy(0)!), null, null];
  },
  Tile: (c) => {
    const x = c.x(0);
    const repeats = constantNumbers(c.x(1));
    if (repeats === undefined) throw noGradient(c.node, 'its repeats are not constants.');
    const folded = reshape(c.dy(0)!, x.shape.flatMap((dim, axis): Dim[] => [repeats[axis]!, dim]));
    return [reduceSum(folded, x.shape.map((_, axis) => 2 * axis), false), null];
  },
  // The sum from an element to the end: the same sum from the other side.
  CumSum: (c) => {
    const attributes = { reverse: int(1 - intOf(c.node, 'reverse', 0)), exclusive: int(intOf(c.node, 'exclusive', 0)) };
    return [op1('CumSum', [c.dy(0)!, c.x(1)], { attributes }), null];
  },
  TopK: (c) => {
    const axis = intOf(c.node, 'axis', -1);
    const dy = c.dy(0);
    return [dy === undefined ? null : scatterElements(filled(c.x(0), c.x(0).shape, 0), c.y(1), dy, axis, 'add'), null];
  },
};

