/** Checks what a run is given against the graph's ports: dtypes, shapes, and that named dims agree between feeds. */
import type { DType, Dim, PortInfo, Shape, TensorData } from '@querent/core';
import { QuerentError, allocate, elementCount } from '@querent/core';
import { dimTerms, printShape } from '@querent/graph';

/**
 * @param unused Names that may be fed and are ignored: parameters asked for as inputs that the graph does not need.
 * @throws QuerentError QRT_ENGINE_FEED that lists every problem.
 */
export function checkFeeds(graph: string, ports: readonly PortInfo[], feeds: Readonly<Record<string, TensorData>>, unused: ReadonlySet<string>): void {
  const problems: string[] = [];
  const sizes = new Map<string, number>();
  const fits: { readonly port: PortInfo; readonly shape: readonly number[] }[] = [];
  for (const port of ports) {
    const feed = feeds[port.name];
    const problem = feed === undefined ? 'is missing' : (dataProblem(feed, port.dtype) ?? (feed.shape.length === port.shape.length ? undefined : `is ${printShape(feed.shape)}`));
    if (feed === undefined || problem !== undefined) {
      problems.push(`${port.name} ${problem}; expected ${printPort(port)}`);
      continue;
    }
    fits.push({ port, shape: feed.shape });
    port.shape.forEach((dim, axis) => {
      if (typeof dim === 'string' && !sizes.has(dim) && isName(dim)) sizes.set(dim, feed.shape[axis] ?? 0);
    });
  }
  for (const { port, shape } of fits) {
    port.shape.forEach((dim, axis) => {
      const size = sizeOfDim(dim, sizes);
      if (size !== undefined && size !== shape[axis]) problems.push(`${port.name} is ${printShape(shape)}; expected ${printPort(port)}, axis ${axis} is ${shape[axis]} and not ${size}`);
    });
  }
  const names = new Set(ports.map(({ name }) => name));
  for (const name of Object.keys(feeds)) if (!names.has(name) && !unused.has(name)) problems.push(`${name} is not an input`);
  if (problems.length > 0) throw feedError(graph, problems, `It takes ${ports.map((port) => `${port.name}: ${printPort(port)}`).join(', ') || 'no inputs'}.`);
}

/** Checks an output that is to be written into the caller's memory. @throws QuerentError QRT_ENGINE_FEED */
export function checkTarget(graph: string, port: PortInfo, target: TensorData, shape: readonly number[]): void {
  const isSame = target.shape.length === shape.length && target.shape.every((size, axis) => size === shape[axis]);
  const problem = dataProblem(target, port.dtype) ?? (isSame ? undefined : `is ${printShape(target.shape)}`);
  if (problem !== undefined) throw feedError(graph, [`into.${port.name} ${problem}; expected ${port.dtype} ${printShape(shape)}`], 'Allocate it with the shape that this run gives, or leave it out.');
}

/** The outputs to compute. @throws QuerentError QRT_ENGINE_FEED for a name that does not exist. */
export function chooseOutputs(graph: string, ports: readonly PortInfo[], wanted: readonly string[] | undefined, into: readonly string[]): readonly PortInfo[] {
  const known = new Set(ports.map(({ name }) => name));
  const unknown = [...(wanted ?? []), ...into].filter((name) => !known.has(name));
  if (unknown.length > 0) throw feedError(graph, [`there is no output ${unknown.join(', ')}`], `It has ${[...known].join(', ')}.`);
  const chosen = new Set(wanted === undefined ? known : [...wanted, ...into]);
  return ports.filter(({ name }) => chosen.has(name));
}

const isName = (dim: string): boolean => /^[A-Za-z_]\w*$/.test(dim);

/** The size of a dim, or undefined when one of its names is not known. */
function sizeOfDim(dim: Dim, sizes: ReadonlyMap<string, number>): number | undefined {
  if (typeof dim === 'number') return dim;
  let sum = 0;
  for (const { coefficient, names } of dimTerms(dim)) {
    const factors = names.map((name) => sizes.get(name) ?? NaN);
    sum += factors.reduce((product, factor) => product * factor, coefficient);
  }
  return Number.isNaN(sum) ? undefined : sum;
}

/** What is wrong with a tensor by itself, seen from a port of `dtype`. */
function dataProblem(tensor: TensorData, dtype: DType): string | undefined {
  if (tensor.dtype !== dtype) return `is ${tensor.dtype} ${printShape(tensor.shape)}`;
  const [array, wanted] = [tensor.data.constructor.name, allocate(dtype, 0).constructor.name];
  if (array !== wanted && array !== 'Buffer') return `holds a ${array} where ${dtype} lies in a ${wanted}`;
  if (tensor.data.length !== elementCount(tensor.shape)) return `is ${printShape(tensor.shape)} but holds ${tensor.data.length} elements`;
  return undefined;
}

function printPort(port: { readonly dtype: DType; readonly shape: Shape }): string {
  return `${port.dtype} ${printShape(port.shape)}`;
}

function feedError(graph: string, problems: readonly string[], fix: string): QuerentError {
  const more = problems.length > 8 ? `; and ${problems.length - 8} more` : '';
  return new QuerentError('QRT_ENGINE_FEED', `Graph ${graph}: ${problems.slice(0, 8).join('; ')}${more}.`, { fix, details: problems });
}
