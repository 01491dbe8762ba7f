/**
 * What goes in and out of a compiled graph, and the check of feeds and preallocated outputs against it: one for all engines, so that the
 * same mistake has the same words on each.
 */
import type { DType, Dim, PortInfo, Shape, TensorData } from '@querent/core';
import { QuerentError, allocate, elementCount } from '@querent/core';
import { dimTerms, printShape } from './dims.ts';

const NAME = /^[A-Za-z_]\w*$/;

/** Named dim → its size in this run. */
export type DimSizes = ReadonlyMap<string, number>;

/** What one engine asks beyond dtype and shape. */
export interface PortRules {
  /** Names that may be fed and are ignored: parameters asked for as inputs that the graph does not need. */
  readonly unused?: ReadonlySet<string>;
  /** The engine that cannot read a SharedArrayBuffer, by name. */
  readonly refusesSharedMemory?: string;
}

/**
 * Checks that every input is fed, with its dtype and shape, and that named dims agree between feeds.
 *
 * @param graph its name, for messages
 * @returns The sizes of the named dims.
 * @throws QuerentError QRT_ENGINE_FEED that lists every problem.
 */
export function checkFeeds(
  graph: string,
  ports: readonly PortInfo[],
  feeds: Readonly<Record<string, TensorData>>,
  rules: PortRules = {},
): DimSizes {
  const problems: string[] = [];
  const sizes = new Map<string, number>();
  const boundBy = new Map<string, string>();
  for (const port of ports) {
    const feed = feeds[port.name];
    if (feed === undefined) {
      problems.push(`${port.name} (${printPort(port)}) is missing`);
      continue;
    }
    const problem = dataProblem(feed, port.dtype, rules);
    if (problem !== undefined) problems.push(`${port.name} ${problem}; expected ${printPort(port)}`);
    else if (feed.shape.length !== port.shape.length) problems.push(`${port.name} is ${printShape(feed.shape)}; expected ${printPort(port)}`);
    else {
      port.shape.forEach((dim, axis) => {
        const size = feed.shape[axis] ?? 0; // same rank
        const known = typeof dim === 'number' ? dim : sizes.get(dim);
        if (known === undefined) {
          if (typeof dim === 'string' && NAME.test(dim)) {
            sizes.set(dim, size);
            boundBy.set(dim, port.name);
          }
        } else if (known !== size) {
          const because = typeof dim === 'number' ? '' : ` (${boundBy.get(dim)} says ${dim} = ${known})`;
          problems.push(`${port.name} is ${printShape(feed.shape)}; expected ${printPort(port)}, axis ${axis} is ${size}${because}`);
        }
      });
    }
  }
  checkExpressions(ports, feeds, sizes, problems);
  const names = new Set(ports.map(({ name }) => name));
  for (const name of Object.keys(feeds)) if (!names.has(name) && rules.unused?.has(name) !== true) problems.push(`${name} is not an input`);
  if (problems.length > 0) throw feedError(graph, problems, `It takes ${ports.map((port) => `${port.name}: ${printPort(port)}`).join(', ') || 'no inputs'}.`);
  return sizes;
}

/**
 * Checks preallocated outputs: they must exist and have the dtype and, as far as it follows from the feeds, the shape.
 *
 * @throws QuerentError QRT_ENGINE_FEED.
 */
export function checkInto(graph: string, ports: readonly PortInfo[], into: Readonly<Record<string, TensorData>>, sizes: DimSizes, rules: PortRules = {}): void {
  const problems: string[] = [];
  for (const [name, target] of Object.entries(into)) {
    const port = ports.find((candidate) => candidate.name === name);
    if (port === undefined) problems.push(`into.${name} is not an output`);
    else {
      const expected = port.shape.map((dim) => evaluateDim(dim, sizes));
      const problem = dataProblem(target, port.dtype, rules);
      if (problem !== undefined) problems.push(`into.${name} ${problem}; expected ${printPort(port)}`);
      else if (target.shape.length !== expected.length || expected.some((size, axis) => size !== undefined && size !== target.shape[axis])) {
        const shape = expected.map((size, axis) => size ?? port.shape[axis] ?? '?');
        problems.push(`into.${name} is ${printShape(target.shape)}; expected ${port.dtype} ${printShape(shape)}`);
      }
    }
  }
  if (problems.length > 0) throw feedError(graph, problems, 'Allocate it with the shape that this run gives, or leave it out.');
}

/** The names of the outputs to compute. @throws QuerentError QRT_ENGINE_FEED for a name that does not exist. */
export function chooseOutputs(
  graph: string,
  ports: readonly PortInfo[],
  wanted: readonly string[] | undefined,
  into: Readonly<Record<string, TensorData>> = {},
): readonly PortInfo[] {
  if (wanted === undefined) return ports;
  const known = new Map(ports.map((port) => [port.name, port]));
  const unknown = wanted.filter((name) => !known.has(name));
  if (unknown.length > 0) throw feedError(graph, [`there is no output ${unknown.join(', ')}`], `It has ${[...known.keys()].join(', ')}.`);
  const chosen = new Set([...wanted, ...Object.keys(into)]);
  return ports.filter(({ name }) => chosen.has(name));
}

/** The size of a dim, or undefined when one of its names is not known. */
export function evaluateDim(dim: Dim, sizes: DimSizes): number | undefined {
  if (typeof dim === 'number') return dim;
  let sum = 0;
  for (const { coefficient, names } of dimTerms(dim)) {
    let term = coefficient;
    for (const name of names) {
      const size = sizes.get(name);
      if (size === undefined) return undefined;
      term *= size;
    }
    sum += term;
  }
  return sum;
}

/** Dims such as `past + tokens`, once all plain names are known. */
function checkExpressions(ports: readonly PortInfo[], feeds: Readonly<Record<string, TensorData>>, sizes: DimSizes, problems: string[]): void {
  for (const port of ports) {
    const shape = feeds[port.name]?.shape;
    if (shape?.length !== port.shape.length) continue;
    port.shape.forEach((dim, axis) => {
      if (typeof dim === 'number' || NAME.test(dim)) return;
      const expected = evaluateDim(dim, sizes);
      if (expected !== undefined && expected !== shape[axis]) {
        problems.push(`${port.name} is ${printShape(shape)}; expected ${printPort(port)}, where ${dim} = ${expected}`);
      }
    });
  }
}

const ARRAYS: Readonly<Record<DType, string>> = Object.fromEntries(
  (['float32', 'float16', 'bfloat16', 'float64', 'int64', 'int32', 'int8', 'uint8', 'bool'] as const).map((dtype) => [
    dtype,
    allocate(dtype, 0).constructor.name,
  ]),
) as Record<DType, string>; // every dtype is in the list

/** What is wrong with a tensor by itself, seen from a port of `dtype`. */
function dataProblem(tensor: TensorData, dtype: DType, { refusesSharedMemory }: PortRules): string | undefined {
  if (tensor.dtype !== dtype) return `is ${tensor.dtype} ${printShape(tensor.shape)}`;
  const array: string = tensor.data.constructor.name;
  if (array !== ARRAYS[dtype] && array !== 'Buffer') return `holds a ${array} where ${dtype} lies in a ${ARRAYS[dtype]}`;
  const count = elementCount(tensor.shape);
  if (tensor.data.length !== count) return `is ${printShape(tensor.shape)} but holds ${tensor.data.length} elements`;
  if (refusesSharedMemory !== undefined && tensor.data.buffer instanceof SharedArrayBuffer) return `lies in a SharedArrayBuffer, which ${refusesSharedMemory} refuses`;
  return undefined;
}

function printPort(port: { readonly dtype: DType; readonly shape: Shape }): string {
  return `${port.dtype} ${printShape(port.shape)}`;
}

function feedError(graph: string, problems: readonly string[], fix: string): QuerentError {
  const more = problems.length > 8 ? `; and ${problems.length - 8} more` : '';
  return new QuerentError('QRT_ENGINE_FEED', `Graph ${graph}: ${problems.slice(0, 8).join('; ')}${more}.`, { fix, details: problems });
}
