/**
 * Arithmetic on symbolic dims. A dim is a number or a polynomial over named dims with integer coefficients, kept as a
 * canonical string: `batch`, `queries + tokens`, `2 * batch`, `batch * tokens`. Equal dims have equal spellings, so `===`
 * decides whether two shapes agree.
 */
import type { Dim, Shape } from '@querent/core';
import { QuerentError } from '@querent/core';

/** monomial (names sorted, joined by ` * `; `''` is the constant) → coefficient */
type Polynomial = Map<string, number>;

function parse(dim: Dim): Polynomial {
  if (typeof dim === 'number') return new Map(dim === 0 ? [] : [['', dim]]);
  const sum: Polynomial = new Map();
  for (const term of dim.replaceAll(' - ', ' + -').split(' + ')) {
    let coefficient = 1;
    const names: string[] = [];
    for (const factor of term.split(' * ')) {
      const text = factor.trim();
      if (/^-?\d+$/.test(text)) coefficient *= Number(text);
      else if (text.startsWith('-')) {
        coefficient = -coefficient;
        names.push(text.slice(1));
      } else names.push(text);
    }
    addTerm(sum, names.sort().join(' * '), coefficient);
  }
  return sum;
}

function addTerm(sum: Polynomial, monomial: string, coefficient: number): void {
  const total = (sum.get(monomial) ?? 0) + coefficient;
  if (total === 0) sum.delete(monomial);
  else sum.set(monomial, total);
}

function print(sum: Polynomial): Dim {
  if (sum.size === 0) return 0;
  const constant = sum.get('');
  if (sum.size === 1 && constant !== undefined) return constant;
  const named = [...sum.keys()].filter((key) => key !== '').sort();
  const terms = named.map((key) => {
    const coefficient = sum.get(key) ?? 0;
    if (coefficient === 1) return key;
    return coefficient === -1 ? `-${key}` : `${coefficient} * ${key}`;
  });
  if (constant !== undefined) terms.push(String(constant));
  return terms.join(' + ').replaceAll(' + -', ' - ');
}

/** `a + b`. */
export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  const sum = parse(a);
  for (const [monomial, coefficient] of parse(b)) addTerm(sum, monomial, coefficient);
  return print(sum);
}

/** `a - b`. */
export function subtractDims(a: Dim, b: Dim): Dim {
  return addDims(a, multiplyDims(b, -1));
}

/** `a * b`. */
export function multiplyDims(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a * b;
  const product: Polynomial = new Map();
  const right = parse(b);
  for (const [left, p] of parse(a)) {
    for (const [other, q] of right) {
      const names = [...left.split(' * '), ...other.split(' * ')].filter((name) => name !== '');
      addTerm(product, names.sort().join(' * '), p * q);
    }
  }
  return print(product);
}

/** The product of all dims: how many elements a shape has. */
export function countElements(shape: Shape): Dim {
  return shape.reduce<Dim>((product, dim) => multiplyDims(product, dim), 1);
}

/** `a / b` where it comes out even term by term, else undefined. `b` must be a number or a single product. */
export function divideDims(a: Dim, b: Dim): Dim | undefined {
  const divisor = [...parse(b)];
  if (divisor.length !== 1) return a === b ? 1 : undefined;
  const [monomial, coefficient] = divisor[0]!;
  const quotient: Polynomial = new Map();
  for (const [term, value] of parse(a)) {
    const names = term === '' ? [] : term.split(' * ');
    for (const name of monomial === '' ? [] : monomial.split(' * ')) {
      const at = names.indexOf(name);
      if (at < 0) return undefined;
      names.splice(at, 1);
    }
    if (value % coefficient !== 0) return undefined;
    addTerm(quotient, names.join(' * '), value / coefficient);
  }
  return print(quotient);
}

/** One term of a dim: a coefficient times named dims. For turning an expression into graph operators. */
export interface DimTerm {
  readonly coefficient: number;
  readonly names: readonly string[];
}

/** The terms of a dim, constants with no names. */
export function dimTerms(dim: Dim): readonly DimTerm[] {
  return [...parse(dim)].map(([monomial, coefficient]) => ({
    coefficient,
    names: monomial === '' ? [] : monomial.split(' * '),
  }));
}

/** A shape for people: `[batch, 32, 768]`. */
export function printShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/**
 * The shape of an elementwise operator's result (NumPy broadcasting).
 * @throws QuerentError QRT_GRAPH_OP when two dims differ and neither is 1.
 */
export function broadcastShapes(a: Shape, b: Shape, what: string): Shape {
  const rank = Math.max(a.length, b.length);
  const result: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const p = a[a.length - rank + i] ?? 1;
    const q = b[b.length - rank + i] ?? 1;
    if (p === q || q === 1) result.push(p);
    else if (p === 1) result.push(q);
    else {
      throw new QuerentError('QRT_GRAPH_OP', `${what}: ${printShape(a)} and ${printShape(b)} do not broadcast: ${p} against ${q}.`, {
        fix: 'One of the two dims must be 1, or both must be the same number or name.',
      });
    }
  }
  return result;
}
