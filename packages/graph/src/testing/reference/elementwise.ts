/** Elementwise operators and comparisons, with NumPy broadcasting. */
import type { DType } from '@querent/core';
import { ONNX_DTYPE_OF } from '../../shape.ts';
import type { Call, Kernel, Kernels, ReferenceTensor } from './tensor.ts';
import { broadcast, broadcastAt, build, floatOf, input, intOf, isInteger, refuse, textOf } from './tensor.ts';

/** erf(x) = 2/√π e^(-x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!, all terms of one sign (Abramowitz and Stegun 7.1.6). */
export function erf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  if (Math.abs(x) > 6) return Math.sign(x);
  let [term, sum] = [x, x];
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const geluExact = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2));
const geluTanh = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** Half to even, as ONNX asks. */
function roundEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

function map(x: ReferenceTensor, f: (value: number) => number, dtype: DType = x.dtype): [ReferenceTensor] {
  return [{ dtype, shape: x.shape, data: x.data.map(f) }];
}

const unary =
  (f: (x: number) => number): Kernel =>
  (call) =>
    map(input(call, 0), f);

/** Unary with a float attribute. */
const unaryWith =
  (name: string, fallback: number, f: (x: number, parameter: number) => number): Kernel =>
  (call) => {
    const parameter = floatOf(call, name, fallback);
    return map(input(call, 0), (x) => f(x, parameter));
  };

/** Folds all inputs, two at a time. */
function fold(call: Call, f: (a: number, b: number) => number, dtype?: DType): [ReferenceTensor] {
  const tensors = call.inputs.map((_, i) => input(call, i));
  const shape = broadcast(call, tensors.map((x) => x.shape));
  return [build(dtype ?? input(call, 0).dtype, shape, (index) => tensors.map((x) => broadcastAt(x, index)).reduce((a, b) => f(a, b)))];
}

const binary =
  (f: (a: number, b: number) => number): Kernel =>
  (call) =>
    fold(call, f);
const predicate =
  (f: (a: number, b: number) => boolean): Kernel =>
  (call) =>
    fold(call, (a, b) => (f(a, b) ? 1 : 0), 'bool');

/** Float → integer drops the fraction; float → float keeps all of float64, so that differences stay exact. */
function castTo(dtype: DType, x: number): number {
  if (dtype === 'bool') return x === 0 ? 0 : 1;
  return isInteger(dtype) ? Math.trunc(x) : x;
}

export const ELEMENTWISE: Kernels = {
  Identity: unary((x) => x),
  Neg: unary((x) => -x),
  Abs: unary(Math.abs),
  Sign: unary(Math.sign),
  Sqrt: unary(Math.sqrt),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Erf: unary(erf),
  Tanh: unary(Math.tanh),
  Sigmoid: unary(sigmoid),
  Relu: unary((x) => Math.max(x, 0)),
  Reciprocal: unary((x) => 1 / x),
  Sin: unary(Math.sin),
  Cos: unary(Math.cos),
  Floor: unary(Math.floor),
  Ceil: unary(Math.ceil),
  Round: unary(roundEven),
  Not: unary((x) => (x === 0 ? 1 : 0)),
  Softplus: unary((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  QuickGelu: unaryWith('alpha', 1.702, (x, alpha) => x * sigmoid(alpha * x)),
  LeakyRelu: unaryWith('alpha', 0.01, (x, alpha) => (x < 0 ? alpha * x : x)),
  Elu: unaryWith('alpha', 1, (x, alpha) => (x < 0 ? alpha * Math.expm1(x) : x)),
  HardSwish: unary((x) => x * Math.min(Math.max(x / 6 + 0.5, 0), 1)),
  HardSigmoid: (call) => {
    const [alpha, beta] = [floatOf(call, 'alpha', 0.2), floatOf(call, 'beta', 0.5)];
    return map(input(call, 0), (x) => Math.min(Math.max(alpha * x + beta, 0), 1));
  },
  Gelu: (call) => map(input(call, 0), textOf(call, 'approximate', 'none') === 'tanh' ? geluTanh : geluExact),
  FastGelu: (call) => fold(call, (x, bias) => x + bias).flatMap((x) => map(x, geluTanh)),

  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  Div: (call) => fold(call, isInteger(input(call, 0).dtype) ? (a, b) => Math.trunc(a / b) : (a, b) => a / b),
  Pow: binary((a, b) => a ** b),
  Min: binary(Math.min),
  Max: binary(Math.max),
  Mod: (call) => fold(call, intOf(call, 'fmod', 0) === 1 ? (a, b) => a % b : (a, b) => a - b * Math.floor(a / b)),

  Equal: predicate((a, b) => a === b),
  Less: predicate((a, b) => a < b),
  Greater: predicate((a, b) => a > b),
  LessOrEqual: predicate((a, b) => a <= b),
  GreaterOrEqual: predicate((a, b) => a >= b),
  And: predicate((a, b) => a !== 0 && b !== 0),
  Or: predicate((a, b) => a !== 0 || b !== 0),
  Xor: predicate((a, b) => (a !== 0) !== (b !== 0)),

  Clip: (call) => {
    const [low, high] = [call.inputs[1]?.data[0] ?? -Infinity, call.inputs[2]?.data[0] ?? Infinity];
    return map(input(call, 0), (x) => Math.min(Math.max(x, low), high));
  },
  Where: (call) => {
    const [condition, a, b] = [input(call, 0), input(call, 1), input(call, 2)];
    const shape = broadcast(call, [condition.shape, a.shape, b.shape]);
    return [build(a.dtype, shape, (index) => broadcastAt(broadcastAt(condition, index) !== 0 ? a : b, index))];
  },
  Cast: (call) => {
    const dtype = ONNX_DTYPE_OF[intOf(call, 'to', 0)];
    if (dtype === undefined) throw refuse(call, `there is no dtype ${intOf(call, 'to', 0)}.`);
    return map(input(call, 0), (x) => castTo(dtype, x), dtype);
  },
};
