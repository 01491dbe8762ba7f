/** Gradients of the elementwise operators. Each formula stands above its rule. */
import type { Tensor } from '@querent/core';
import { add, and, cast, cos, div, erf, exp, greater, greaterOrEqual, lessOrEqual, log, mul, neg, pow, sigmoid, sign, sin, sub, tanh, where } from '../../ops/elementwise.ts';
import { builderOf } from '../../graph.ts';
import { constantNumbers } from '../../ops/op.ts';
import { reshape } from '../../ops/shaping.ts';
import type { GradientRule, RuleContext } from '../rule.ts';
import { floatOf, noGradient, textOf, unbroadcast } from '../rule.ts';

/** dx = f(dy, x, y) for operators of one input. */
const unary =
  (rule: (dy: Tensor, x: Tensor, y: Tensor) => Tensor): GradientRule =>
  (c) => [rule(c.dy(0)!, c.x(0), c.y(0))];

/** da = f, db = g, summed over what was broadcast. */
const binary =
  (left: (dy: Tensor, c: RuleContext) => Tensor, right: (dy: Tensor, c: RuleContext) => Tensor): GradientRule =>
  (c) => {
    const dy = c.dy(0)!;
    return [
      c.needs(0) ? unbroadcast(left(dy, c), c.x(0).shape) : null,
      c.needs(1) ? unbroadcast(right(dy, c), c.x(1).shape) : null,
    ];
  };

const pickOfTwo = (isChosen: (a: Tensor, b: Tensor) => Tensor): GradientRule =>
  binary(
    (dy, c) => where(isChosen(c.x(0), c.x(1)), dy, 0),
    (dy, c) => where(isChosen(c.x(0), c.x(1)), 0, dy),
  );

/** Of equal values the first is chosen. ONNX allows any number of inputs. */
const pick =
  (isChosen: (a: Tensor, b: Tensor) => Tensor): GradientRule =>
  (c) => {
    if (c.node.inputs.length === 1) return [c.dy(0)!];
    if (c.node.inputs.length > 2) throw noGradient(c.node, `it has ${c.node.inputs.length} inputs, and only two have one.`);
    return pickOfTwo(isChosen)(c);
  };

/** Φ(x), the normal distribution; once for all that ask. */
function normalDistribution(x: Tensor): Tensor {
  return builderOf(x).once(`normal-distribution:${x.name}`, () => mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5));
}

/**
 * `x` computed again where that costs one product: the GELU of the layer before, of which backward needs Φ in any case. The widest tensors
 * of a transformer need not be kept from the forward pass then. All else is given back as it is.
 */
export function recomputed(x: Tensor): Tensor {
  const node = builderOf(x).producer(x);
  const inner = node?.inputs[0] ?? null;
  if (inner === null) return x;
  if (node?.opType === 'Reshape') {
    const again = recomputed(inner);
    return again === inner ? x : reshape(again, x.shape);
  }
  return node?.opType === 'Gelu' && textOf(node, 'approximate', 'none') === 'none' ? mul(inner, normalDistribution(inner)) : x;
}

/** Φ(x) + x φ(x) with Φ the normal distribution and φ its density. */
function geluSlope(x: Tensor): Tensor {
  const cdf = normalDistribution(x);
  const pdf = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  return add(cdf, mul(x, pdf));
}

/** d/dx of 0.5 x (1 + tanh u), u = √(2/π) (x + 0.044715 x³). */
function tanhGeluSlope(x: Tensor): Tensor {
  const k = Math.sqrt(2 / Math.PI);
  const square = mul(x, x);
  const t = tanh(mul(mul(x, add(mul(square, 0.044715), 1)), k));
  const inner = mul(add(mul(square, 3 * 0.044715), 1), k);
  return add(mul(add(t, 1), 0.5), mul(mul(mul(x, 0.5), sub(1, mul(t, t))), inner));
}

export const elementwiseRules: Readonly<Record<string, GradientRule>> = {
  Identity: unary((dy) => dy),
  Add: binary((dy) => dy, (dy) => dy),
  Sub: binary((dy) => dy, (dy) => neg(dy)),
  Mul: binary((dy, c) => mul(dy, c.x(1)), (dy, c) => mul(dy, c.x(0))),
  // y = a / b: da = dy / b, db = -dy y / b
  Div: binary((dy, c) => div(dy, c.x(1)), (dy, c) => neg(div(mul(dy, c.y(0)), c.x(1)))),
  // y = x^n: dx = dy n x^(n-1), dn = dy y log x
  Pow: binary(
    (dy, c) => {
      const n = constantNumbers(c.x(1));
      if (n?.length !== 1) return mul(dy, mul(c.x(1), pow(c.x(0), sub(c.x(1), 1))));
      return mul(dy, n[0] === 2 ? mul(c.x(0), 2) : mul(pow(c.x(0), n[0]! - 1), n[0]!));
    },
    (dy, c) => mul(dy, mul(c.y(0), log(c.x(0)))),
  ),
  Min: pick((a, b) => lessOrEqual(a, b)),
  Max: pick((a, b) => greaterOrEqual(a, b)),
  Neg: unary((dy) => neg(dy)),
  Abs: unary((dy, x) => mul(dy, sign(x))),
  Sqrt: unary((dy, _, y) => div(mul(dy, 0.5), y)),
  Exp: unary((dy, _, y) => mul(dy, y)),
  Log: unary((dy, x) => div(dy, x)),
  // 2/√π e^(-x²)
  Erf: unary((dy, x) => mul(dy, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI)))),
  Tanh: unary((dy, _, y) => mul(dy, sub(1, mul(y, y)))),
  Sigmoid: unary((dy, _, y) => mul(dy, mul(y, sub(1, y)))),
  Relu: unary((dy, x) => where(greater(x, 0), dy, 0)),
  Reciprocal: unary((dy, _, y) => neg(mul(dy, mul(y, y)))),
  Sin: unary((dy, x) => mul(dy, cos(x))),
  Cos: unary((dy, x) => neg(mul(dy, sin(x)))),
  Gelu: (c) => {
    const slope = textOf(c.node, 'approximate', 'none') === 'tanh' ? tanhGeluSlope : geluSlope;
    return [mul(c.dy(0)!, slope(c.x(0)))];
  },
  // y = x σ(αx): dx = dy (s + αx s (1 - s))
  QuickGelu: (c) => {
    const alpha = floatOf(c.node, 'alpha', 1.702);
    const scaled = mul(c.x(0), alpha);
    const s = sigmoid(scaled);
    return [mul(c.dy(0)!, add(s, mul(scaled, mul(s, sub(1, s)))))];
  },
  // Passes where the bound did not bind, the bounds themselves included (as torch does).
  Clip: (c) => {
    const [low, high] = [c.node.inputs[1] ?? null, c.node.inputs[2] ?? null];
    const above = low === null ? undefined : greaterOrEqual(c.x(0), low);
    const below = high === null ? undefined : lessOrEqual(c.x(0), high);
    const inside = above !== undefined && below !== undefined ? and(above, below) : (above ?? below);
    return [inside === undefined ? c.dy(0)! : where(inside, c.dy(0)!, 0), null, null];
  },
  Where: (c) => {
    const dy = c.dy(0)!;
    return [
      null,
      c.needs(1) ? unbroadcast(where(c.x(0), dy, 0), c.x(1).shape) : null,
      c.needs(2) ? unbroadcast(where(c.x(0), 0, dy), c.x(2).shape) : null,
    ];
  },
  Cast: (c) => [cast(c.dy(0)!, c.x(0).dtype)],
};

