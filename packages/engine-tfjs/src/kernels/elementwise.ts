/** Operators that work on each element by itself. */
import type { Tensor as TfTensor } from '@tensorflow/tfjs-core';
import { heldAs } from '../values.ts';
import type { Tf } from '../tf.ts';
import type { Call, Kernel, Kernels } from './call.ts';
import { castTo, floatOf, input, intOf, optional, plain, textOf, value } from './call.ts';

const unary =
  (f: (tf: Tf, x: TfTensor) => TfTensor): Kernel =>
  (call) => [f(call.tf, input(call, 0))];

/** Folds all inputs, two at a time. */
const fold =
  (f: (tf: Tf, a: TfTensor, b: TfTensor) => TfTensor): Kernel =>
  (call) => [call.inputs.map((_, i) => input(call, i)).reduce((a, b) => f(call.tf, a, b))];

/** Comparisons take numbers: bools are compared as 0 and 1. */
const compare = (f: (tf: Tf, a: TfTensor, b: TfTensor) => TfTensor): Kernel => fold((tf, a, b) => f(tf, asNumber(tf, a), asNumber(tf, b)));

function asNumber(tf: Tf, x: TfTensor): TfTensor {
  return x.dtype === 'bool' ? tf.cast(x, 'int32') : x;
}

/** Integers divide toward zero; TensorFlow.js divides them downward. */
function divide(tf: Tf, a: TfTensor, b: TfTensor): TfTensor {
  if (a.dtype !== 'int32' || b.dtype !== 'int32') return tf.div(a, b);
  return tf.mul(tf.mul(tf.sign(a), tf.sign(b)), tf.floorDiv(tf.abs(a), tf.abs(b)));
}

function truncate(tf: Tf, x: TfTensor): TfTensor {
  return tf.mul(tf.sign(x), tf.floor(tf.abs(x)));
}

function modulo(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const [a, b] = [input(call, 0), input(call, 1)];
  if (intOf(call.node, 'fmod', 0) === 0) return [tf.mod(a, b)];
  const whole = a.dtype === 'int32' ? divide(tf, a, b) : truncate(tf, tf.div(a, b));
  return [tf.sub(a, tf.mul(whole, b))];
}

/** 0.5 x (1 + erf(x / √2)) */
function geluExact(tf: Tf, x: TfTensor): TfTensor {
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
}

/** 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))) */
function geluTanh(tf: Tf, x: TfTensor): TfTensor {
  const cube = tf.mul(tf.mul(x, x), tf.mul(x, 0.044715));
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(tf.mul(tf.add(x, cube), Math.sqrt(2 / Math.PI))), 1));
}

/** max(x, 0) + log(1 + e^-|x|): no overflow. */
function softplus(tf: Tf, x: TfTensor): TfTensor {
  return tf.add(tf.relu(x), tf.log1p(tf.exp(tf.neg(tf.abs(x)))));
}

function clip(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const [low, high] = [optional(call, 1), optional(call, 2)];
  const x = input(call, 0);
  const raised = low === undefined ? x : tf.maximum(x, low);
  return [high === undefined ? raised : tf.minimum(raised, high)];
}

function where(call: Call): readonly TfTensor[] {
  const [condition, a, b] = [input(call, 0), input(call, 1), input(call, 2)];
  if (a.dtype !== 'bool') return [call.tf.where(condition, a, b)];
  return [call.tf.where(condition, call.tf.cast(a, 'int32'), call.tf.cast(b, 'int32'))];
}

/** Float → integer drops the fraction; anything → bool asks whether it is not 0. */
function cast(call: Call): readonly TfTensor[] {
  const { tf } = call;
  const x = input(call, 0);
  const held = heldAs(call.node.outputs[0]?.dtype ?? value(call, 0).dtype);
  if (held === 'bool' && x.dtype !== 'bool') return [tf.notEqual(x, tf.zerosLike(x))];
  return [castTo(tf, x, held)];
}

export const ELEMENTWISE: Kernels = plain({
  Identity: unary((tf, x) => tf.clone(x)),
  Neg: unary((tf, x) => tf.neg(x)),
  Abs: unary((tf, x) => tf.abs(x)),
  Sign: unary((tf, x) => tf.sign(x)),
  Sqrt: unary((tf, x) => tf.sqrt(x)),
  Exp: unary((tf, x) => tf.exp(x)),
  Log: unary((tf, x) => tf.log(x)),
  Erf: unary((tf, x) => tf.erf(x)),
  Tanh: unary((tf, x) => tf.tanh(x)),
  Sigmoid: unary((tf, x) => tf.sigmoid(x)),
  Relu: unary((tf, x) => tf.relu(x)),
  Reciprocal: unary((tf, x) => tf.reciprocal(x)),
  Sin: unary((tf, x) => tf.sin(x)),
  Cos: unary((tf, x) => tf.cos(x)),
  Floor: unary((tf, x) => tf.floor(x)),
  Ceil: unary((tf, x) => tf.ceil(x)),
  Round: unary((tf, x) => tf.round(x)), // half to even, as ONNX asks
  Not: unary((tf, x) => tf.logicalNot(x)),
  Softplus: unary(softplus),
  Gelu: (call) => [(textOf(call.node, 'approximate', 'none') === 'tanh' ? geluTanh : geluExact)(call.tf, input(call, 0))],
  FastGelu: (call) => [geluTanh(call.tf, call.inputs.map((_, i) => input(call, i)).reduce((a, b) => call.tf.add(a, b)))],
  QuickGelu: (call) => {
    const x = input(call, 0);
    return [call.tf.mul(x, call.tf.sigmoid(call.tf.mul(x, floatOf(call.node, 'alpha', 1.702))))];
  },
  LeakyRelu: (call) => {
    const x = input(call, 0);
    return [call.tf.where(call.tf.less(x, 0), call.tf.mul(x, floatOf(call.node, 'alpha', 0.01)), x)];
  },
  Elu: (call) => {
    const x = input(call, 0);
    const below = call.tf.mul(call.tf.expm1(call.tf.minimum(x, 0)), floatOf(call.node, 'alpha', 1));
    return [call.tf.where(call.tf.less(x, 0), below, x)];
  },
  HardSwish: unary((tf, x) => tf.mul(x, tf.clipByValue(tf.add(tf.div(x, 6), 0.5), 0, 1))),
  HardSigmoid: (call) => {
    const { tf, node } = call;
    return [tf.clipByValue(tf.add(tf.mul(input(call, 0), floatOf(node, 'alpha', 0.2)), floatOf(node, 'beta', 0.5)), 0, 1)];
  },

  Add: fold((tf, a, b) => tf.add(a, b)),
  Sub: fold((tf, a, b) => tf.sub(a, b)),
  Mul: fold((tf, a, b) => tf.mul(a, b)),
  Div: fold(divide),
  Pow: fold((tf, a, b) => tf.pow(a, b)),
  Min: fold((tf, a, b) => tf.minimum(a, b)),
  Max: fold((tf, a, b) => tf.maximum(a, b)),
  Mod: modulo,

  Equal: compare((tf, a, b) => tf.equal(a, b)),
  Less: compare((tf, a, b) => tf.less(a, b)),
  Greater: compare((tf, a, b) => tf.greater(a, b)),
  LessOrEqual: compare((tf, a, b) => tf.lessEqual(a, b)),
  GreaterOrEqual: compare((tf, a, b) => tf.greaterEqual(a, b)),
  And: fold((tf, a, b) => tf.logicalAnd(a, b)),
  Or: fold((tf, a, b) => tf.logicalOr(a, b)),
  Xor: compare((tf, a, b) => tf.notEqual(a, b)),

  Clip: clip,
  Where: where,
  Cast: cast,
});
