/**
 * Shape and dtype inference: one rule per ONNX operator, from inputs to outputs, with symbolic dims.
 * Rules that depend on the value of an input (Reshape, Slice, …) read it where it is a constant of the graph; a builder
 * function that knows more (a symbolic target shape) passes its result instead of asking.
 */
import type { Attribute, DType, Dim, Shape, Tensor } from '@querent/core';
import { QuerentError } from '@querent/core';
import { addDims, broadcastShapes, countElements, divideDims, multiplyDims, printShape, subtractDims } from './dims.ts';
import type { OutputSpec } from './graph.ts';

export interface InferenceInput {
  readonly opType: string;
  readonly inputs: readonly (Tensor | null)[];
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** The numbers of an integer input, where they are known before anything runs. */
  readonly constant: (index: number) => readonly number[] | undefined;
}

type Rule = (node: InferenceInput) => readonly OutputSpec[];

/** A complaint that names the operator and what it was given. */
export function operatorError(node: Pick<InferenceInput, 'opType' | 'inputs'>, problem: string, fix?: string): QuerentError {
  const given = node.inputs.map((x) => (x === null ? '(none)' : `${x.name} ${x.dtype} ${printShape(x.shape)}`)).join(', ');
  return new QuerentError('QRT_GRAPH_OP', `${node.opType}(${given}): ${problem}`, fix === undefined ? {} : { fix });
}

export function intAttribute(node: InferenceInput, name: string, fallback: number): number {
  const attribute = node.attributes[name];
  return attribute?.type === 'int' ? attribute.value : fallback;
}

export function intsAttribute(node: InferenceInput, name: string): readonly number[] | undefined {
  const attribute = node.attributes[name];
  return attribute?.type === 'ints' ? attribute.value : undefined;
}

function need(node: InferenceInput, index: number): Tensor {
  const input = node.inputs[index];
  if (input === null || input === undefined) throw operatorError(node, `input ${index} is missing.`);
  return input;
}

/** A negative axis counts from the end. */
export function normaliseAxis(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

const same: Rule = (node) => [{ dtype: need(node, 0).dtype, shape: need(node, 0).shape }];

const broadcast: Rule = (node) => {
  const [a, b] = [need(node, 0), need(node, 1)];
  if (a.dtype !== b.dtype) throw operatorError(node, `both inputs must have one dtype.`, 'Use cast().');
  return [{ dtype: a.dtype, shape: broadcastShapes(a.shape, b.shape, node.opType) }];
};

const compare: Rule = (node) => [{ dtype: 'bool', shape: broadcast(node)[0]!.shape }];

const matMul: Rule = (node) => {
  const [a, b] = [need(node, 0), need(node, 1)];
  const flip = (shape: Shape, isFlipped: boolean): Shape =>
    isFlipped ? [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!] : shape;
  if (a.shape.length < 2 || b.shape.length < 2) throw operatorError(node, 'both inputs need two axes or more.');
  const left = flip(a.shape, intAttribute(node, 'transA', 0) === 1);
  const right = flip(b.shape, intAttribute(node, 'transB', 0) === 1);
  if (left.at(-1) !== right.at(-2)) throw operatorError(node, `the inner dims ${left.at(-1)} and ${right.at(-2)} differ.`);
  const lead = broadcastShapes(left.slice(0, -2), right.slice(0, -2), node.opType);
  return [{ dtype: a.dtype, shape: [...lead, left.at(-2)!, right.at(-1)!] }];
};

const integerMatMul: Rule = (node) => {
  const [x, weight, scales] = [need(node, 0), need(node, 1), need(node, 2)];
  if (x.dtype !== 'float32' || (weight.dtype !== 'int8' && weight.dtype !== 'uint8') || scales.dtype !== 'float32') throw operatorError(node, 'it takes float32, int8 or uint8, and float32 scales.');
  if (weight.shape.length !== 2 || x.shape.at(-1) !== weight.shape[0]) throw operatorError(node, `the inner dims ${x.shape.at(-1)} and ${weight.shape[0]} differ, or the weights have not two axes.`);
  return [{ dtype: 'float32', shape: [...x.shape.slice(0, -1), weight.shape[1]!] }];
};

const reduce: Rule = (node) => {
  const x = need(node, 0);
  const axes = (node.constant(1) ?? intsAttribute(node, 'axes') ?? x.shape.map((_, i) => i)).map((axis) =>
    normaliseAxis(axis, x.shape.length),
  );
  const keep = intAttribute(node, 'keepdims', 1) === 1;
  const shape = x.shape.flatMap((dim, axis): Dim[] => (axes.includes(axis) ? (keep ? [1] : []) : [dim]));
  return [{ dtype: x.dtype, shape }];
};

/** Output size of a sliding window: floor((n + pads - effective) / stride) + 1. */
function windowed(node: InferenceInput, n: Dim, kernel: number, axis: number): Dim {
  const stride = intsAttribute(node, 'strides')?.[axis] ?? 1;
  const dilation = intsAttribute(node, 'dilations')?.[axis] ?? 1;
  const pads = intsAttribute(node, 'pads') ?? [0, 0, 0, 0];
  const free = subtractDims(addDims(n, (pads[axis] ?? 0) + (pads[axis + pads.length / 2] ?? 0)), dilation * (kernel - 1) + 1);
  if (typeof free === 'number') return Math.floor(free / stride) + 1;
  const steps = divideDims(free, stride);
  if (steps === undefined) throw operatorError(node, `the size ${n} cannot be divided by stride ${stride} symbolically.`, 'Give image sizes as numbers.');
  return addDims(steps, 1);
}

const conv: Rule = (node) => {
  const [x, w] = [need(node, 0), need(node, 1)];
  const group = intAttribute(node, 'group', 1);
  const [batch, channels, ...space] = x.shape;
  const [out, perGroup, ...kernel] = w.shape;
  if (x.shape.length !== w.shape.length || multiplyDims(perGroup!, group) !== channels) {
    throw operatorError(node, `${group} groups of ${perGroup} channels do not make ${channels}.`);
  }
  return [{ dtype: x.dtype, shape: [batch!, out!, ...space.map((n, axis) => windowed(node, n, Number(kernel[axis]), axis))] }];
};

const pool: Rule = (node) => {
  const x = need(node, 0);
  const kernel = intsAttribute(node, 'kernel_shape') ?? [];
  return [{ dtype: x.dtype, shape: [...x.shape.slice(0, 2), ...x.shape.slice(2).map((n, axis) => windowed(node, n, kernel[axis] ?? 1, axis))] }];
};

const reshape: Rule = (node) => {
  const x = need(node, 0);
  const target = node.constant(1);
  if (target === undefined) throw operatorError(node, 'the target shape is not a constant of the graph.');
  const shape: Dim[] = target.map((n, axis) => (n === 0 ? x.shape[axis]! : n));
  const open = shape.indexOf(-1);
  if (open >= 0) {
    const known = countElements(shape.filter((_, axis) => axis !== open));
    const rest = divideDims(countElements(x.shape), known);
    if (rest === undefined) throw operatorError(node, `${printShape(x.shape)} cannot be divided into ${printShape(shape)}.`);
    shape[open] = rest;
  } else if (countElements(shape) !== countElements(x.shape)) {
    throw operatorError(node, `${printShape(x.shape)} does not have the elements of ${printShape(shape)}.`);
  }
  return [{ dtype: x.dtype, shape }];
};

const slice: Rule = (node) => {
  const x = need(node, 0);
  const [starts, ends] = [node.constant(1), node.constant(2)];
  const axes = node.constant(3) ?? starts?.map((_, i) => i);
  const steps = node.constant(4) ?? axes?.map(() => 1);
  if (starts === undefined || ends === undefined || axes === undefined || steps === undefined) {
    throw operatorError(node, 'the bounds are not constants of the graph.');
  }
  const shape = [...x.shape];
  axes.forEach((rawAxis, i) => {
    const axis = normaliseAxis(rawAxis, shape.length);
    const size = shape[axis]!;
    const [start, end, step] = [starts[i]!, ends[i]!, steps[i]!];
    if (step !== 1) {
      if (typeof size !== 'number') throw operatorError(node, 'a step needs a size that is a number.');
      const clamp = (n: number): number => Math.min(Math.max(n < 0 ? n + size : n, step < 0 ? -1 : 0), step < 0 ? size - 1 : size);
      shape[axis] = Math.max(0, Math.ceil((clamp(end) - clamp(start)) / step));
      return;
    }
    const at = (n: number): Dim => {
      if (n >= 2 ** 31 - 1) return size;
      if (typeof size === 'number') return n < 0 ? Math.max(0, size + n) : Math.min(n, size);
      return n < 0 ? addDims(size, n) : n;
    };
    shape[axis] = subtractDims(at(end), at(start));
  });
  return [{ dtype: x.dtype, shape }];
};

const layerNormalization: Rule = (node) => {
  const x = need(node, 0);
  const axis = normaliseAxis(intAttribute(node, 'axis', -1), x.shape.length);
  const statistics: OutputSpec = { dtype: 'float32', shape: x.shape.map((dim, i) => (i < axis ? dim : 1)) };
  return [{ dtype: x.dtype, shape: x.shape }, statistics, statistics];
};

const logical: Rule = (node) => [{ dtype: 'bool', shape: broadcastShapes(need(node, 0).shape, need(node, 1).shape, node.opType) }];

const RULES: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(
    ['Abs', 'Neg', 'Sign', 'Sqrt', 'Exp', 'Log', 'Erf', 'Tanh', 'Sigmoid', 'Relu', 'Reciprocal', 'Sin', 'Cos', 'Clip', 'Softmax', 'LogSoftmax',
      'Identity', 'Gelu', 'QuickGelu', 'FastGelu', 'Trilu', 'CumSum', 'Not', 'ScatterElements', 'ScatterND', 'TensorScatter', 'SimplifiedLayerNormalization',
      'RMSNormalization', 'Floor', 'Ceil', 'Round', 'BatchNormalization', 'Dropout', 'HardSigmoid', 'HardSwish', 'LeakyRelu', 'Elu'].map((op) => [op, same]),
  ),
  ...Object.fromEntries(['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Min', 'Max', 'Mod'].map((op) => [op, broadcast])),
  ...Object.fromEntries(['Equal', 'Less', 'Greater', 'LessOrEqual', 'GreaterOrEqual'].map((op) => [op, compare])),
  ...Object.fromEntries(['And', 'Or', 'Xor'].map((op) => [op, logical])),
  ...Object.fromEntries(['ReduceSum', 'ReduceMean', 'ReduceMax', 'ReduceMin', 'ReduceProd', 'ReduceL2', 'ReduceSumSquare'].map((op) => [op, reduce])),
  MatMul: matMul,
  FusedMatMul: matMul,
  DynamicQuantizeMatMul: integerMatMul,
  Conv: conv,
  AveragePool: pool,
  MaxPool: pool,
  Reshape: reshape,
  Slice: slice,
  LayerNormalization: layerNormalization,
  Gemm: (node) => {
    const [a, b] = [need(node, 0), need(node, 1)];
    if (a.shape.length !== 2 || b.shape.length !== 2) throw operatorError(node, 'both matrices need two axes.');
    return matMul(node);
  },
  Cast: (node) => {
    const to = intAttribute(node, 'to', 1);
    return [{ dtype: ONNX_DTYPE_OF[to] ?? 'float32', shape: need(node, 0).shape }];
  },
  Transpose: (node) => {
    const x = need(node, 0);
    const perm = intsAttribute(node, 'perm') ?? x.shape.map((_, i) => x.shape.length - 1 - i);
    if ([...perm].sort((p, q) => p - q).some((axis, i) => axis !== i) || perm.length !== x.shape.length) {
      throw operatorError(node, `[${perm.join(', ')}] is not a permutation of the ${x.shape.length} axes.`);
    }
    return [{ dtype: x.dtype, shape: perm.map((axis) => x.shape[axis]!) }];
  },
  Where: (node) => {
    const [condition, a, b] = [need(node, 0), need(node, 1), need(node, 2)];
    return [{ dtype: a.dtype, shape: broadcastShapes(condition.shape, broadcastShapes(a.shape, b.shape, 'Where'), 'Where') }];
  },
  Unsqueeze: (node) => {
    const x = need(node, 0);
    const axes = node.constant(1) ?? intsAttribute(node, 'axes') ?? [];
    const rank = x.shape.length + axes.length;
    const at = new Set(axes.map((axis) => normaliseAxis(axis, rank)));
    const rest = [...x.shape];
    return [{ dtype: x.dtype, shape: Array.from({ length: rank }, (_, axis): Dim => (at.has(axis) ? 1 : rest.shift()!)) }];
  },
  Squeeze: (node) => {
    const x = need(node, 0);
    const axes = (node.constant(1) ?? intsAttribute(node, 'axes') ?? x.shape.flatMap((dim, axis) => (dim === 1 ? [axis] : []))).map((axis) =>
      normaliseAxis(axis, x.shape.length),
    );
    return [{ dtype: x.dtype, shape: x.shape.filter((_, axis) => !axes.includes(axis)) }];
  },
  Concat: (node) => {
    const first = need(node, 0);
    const axis = normaliseAxis(intAttribute(node, 'axis', 0), first.shape.length);
    let size: Dim = 0;
    for (const input of node.inputs) {
      if (input === null) continue;
      if (input.shape.length !== first.shape.length || input.shape.some((dim, i) => i !== axis && dim !== first.shape[i])) {
        throw operatorError(node, `all inputs must agree but on axis ${axis}.`);
      }
      size = addDims(size, input.shape[axis]!);
    }
    return [{ dtype: first.dtype, shape: first.shape.map((dim, i) => (i === axis ? size : dim)) }];
  },
  Split: (node) => {
    const x = need(node, 0);
    const axis = normaliseAxis(intAttribute(node, 'axis', 0), x.shape.length);
    const sizes = node.constant(1);
    if (sizes === undefined) throw operatorError(node, 'the sizes are not constants of the graph.');
    return sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.map((dim, i) => (i === axis ? size : dim)) }));
  },
  Gather: (node) => {
    const [x, indices] = [need(node, 0), need(node, 1)];
    const axis = normaliseAxis(intAttribute(node, 'axis', 0), x.shape.length);
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)] }];
  },
  GatherElements: (node) => [{ dtype: need(node, 0).dtype, shape: need(node, 1).shape }],
  Shape: (node) => [{ dtype: 'int64', shape: [need(node, 0).shape.length] }],
  Size: () => [{ dtype: 'int64', shape: [] }],
  Expand: (node) => {
    const x = need(node, 0);
    const target = node.constant(1);
    if (target === undefined) throw operatorError(node, 'the target shape is not a constant of the graph.');
    return [{ dtype: x.dtype, shape: broadcastShapes(x.shape, target, 'Expand') }];
  },
  ArgMax: (node) => {
    const x = need(node, 0);
    const axis = normaliseAxis(intAttribute(node, 'axis', 0), x.shape.length);
    const keep = intAttribute(node, 'keepdims', 1) === 1;
    return [{ dtype: 'int64', shape: x.shape.flatMap((dim, i): Dim[] => (i === axis ? (keep ? [1] : []) : [dim])) }];
  },
  TopK: (node) => {
    const x = need(node, 0);
    const axis = normaliseAxis(intAttribute(node, 'axis', -1), x.shape.length);
    const k = node.constant(1)?.[0];
    if (k === undefined) throw operatorError(node, 'k is not a constant of the graph.');
    const shape = x.shape.map((dim, i) => (i === axis ? k : dim));
    return [{ dtype: x.dtype, shape }, { dtype: 'int64', shape }];
  },
  GlobalAveragePool: (node) => {
    const x = need(node, 0);
    return [{ dtype: x.dtype, shape: x.shape.map((dim, i) => (i < 2 ? dim : 1)) }];
  },
  OneHot: (node) => {
    const [indices, values] = [need(node, 0), need(node, 2)];
    const depth = node.constant(1)?.[0];
    if (depth === undefined) throw operatorError(node, 'the depth is not a constant of the graph.');
    return [{ dtype: values.dtype, shape: [...indices.shape, depth] }];
  },
  SoftmaxCrossEntropyLoss: (node) => {
    const [scores, labels] = [need(node, 0), need(node, 1)];
    const reduction = node.attributes['reduction'];
    const isNone = reduction?.type === 'string' && reduction.value === 'none';
    return [{ dtype: scores.dtype, shape: isNone ? labels.shape : [] }, { dtype: scores.dtype, shape: scores.shape }];
  },
  Range: (node) => {
    const [start, limit, step] = [node.constant(0)?.[0], node.constant(1)?.[0], node.constant(2)?.[0]];
    if (start === undefined || limit === undefined || step === undefined) throw operatorError(node, 'the bounds are not constants of the graph.');
    return [{ dtype: need(node, 0).dtype, shape: [Math.max(0, Math.ceil((limit - start) / step))] }];
  },
  ConstantOfShape: (node) => {
    const shape = node.constant(0);
    const value = node.attributes['value'];
    if (shape === undefined) throw operatorError(node, 'the shape is not a constant of the graph.');
    return [{ dtype: value?.type === 'tensor' ? value.value.dtype : 'float32', shape }];
  },
  Tile: (node) => {
    const x = need(node, 0);
    const repeats = node.constant(1);
    if (repeats === undefined) throw operatorError(node, 'the repeats are not constants of the graph.');
    return [{ dtype: x.dtype, shape: x.shape.map((dim, i) => multiplyDims(dim, repeats[i] ?? 1)) }];
  },
  Pad: (node) => {
    const x = need(node, 0);
    const pads = node.constant(1);
    if (pads === undefined) throw operatorError(node, 'the pads are not constants of the graph.');
    return [{ dtype: x.dtype, shape: x.shape.map((dim, i) => addDims(dim, (pads[i] ?? 0) + (pads[i + x.shape.length] ?? 0))) }];
  },
  Flatten: (node) => {
    const x = need(node, 0);
    const axis = normaliseAxis(intAttribute(node, 'axis', 1), x.shape.length);
    return [{ dtype: x.dtype, shape: [countElements(x.shape.slice(0, axis)), countElements(x.shape.slice(axis))] }];
  },
  ConvTranspose: (node) => {
    const [x, w] = [need(node, 0), need(node, 1)];
    const output = intsAttribute(node, 'output_shape');
    const group = intAttribute(node, 'group', 1);
    const [pads, strides] = [intsAttribute(node, 'pads') ?? [], intsAttribute(node, 'strides') ?? []];
    const dilations = intsAttribute(node, 'dilations') ?? [];
    const outputPadding = intsAttribute(node, 'output_padding') ?? [];
    const space = x.shape.slice(2).map((n, axis): Dim => {
      if (output !== undefined) return output[axis]!;
      const effective = (dilations[axis] ?? 1) * (Number(w.shape[axis + 2]) - 1) + 1;
      const grown = addDims(multiplyDims(subtractDims(n, 1), strides[axis] ?? 1), effective + (outputPadding[axis] ?? 0));
      return subtractDims(grown, (pads[axis] ?? 0) + (pads[axis + x.shape.length - 2] ?? 0));
    });
    return [{ dtype: x.dtype, shape: [x.shape[0]!, multiplyDims(w.shape[1]!, group), ...space] }];
  },
};

/** ONNX TensorProto.DataType → dtype. */
export const ONNX_DTYPE_OF: Readonly<Record<number, DType>> = {
  1: 'float32', 2: 'uint8', 3: 'int8', 6: 'int32', 7: 'int64', 9: 'bool', 10: 'float16', 11: 'float64', 16: 'bfloat16',
};

/** dtype → ONNX TensorProto.DataType. */
export const ONNX_DTYPE: Readonly<Record<DType, number>> = {
  float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9, float16: 10, float64: 11, bfloat16: 16,
};

/** Is there a rule for this operator? */
export function hasShapeRule(opType: string): boolean {
  return opType in RULES;
}

/**
 * Dtype and shape of an operator's outputs.
 * @throws QuerentError QRT_GRAPH_OP when the inputs do not fit, or no rule knows the operator.
 */
export function inferOutputs(node: InferenceInput): readonly OutputSpec[] {
  const rule = RULES[node.opType];
  if (rule === undefined) throw operatorError(node, 'no shape rule knows this operator.', 'Give its outputs explicitly: op(…, { outputs }).');
  return rule(node);
}
