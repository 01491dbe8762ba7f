/** A graph as text that people read: for errors, docs, `querent graph` and tests. One line for each tensor's maker. */
import type { Attribute, Graph, Node, Tensor, TensorData } from '@querent/core';
import { elementCount } from '@querent/core';
import { printShape } from './dims.ts';

export interface PrintOptions {
  /** At most this many nodes; what is left out is counted. Default: all. */
  readonly maxNodes?: number;
}

/** Constants and lists with more elements than this are cut. */
const MAX_ELEMENTS = 8;

/**
 * Inputs, parameters, nodes in the order in which they run, and outputs.
 *
 * @example
 * printGraph(g.graph);
 * // graph double
 * //   input x: float32 [batch]
 * //   Add_0: float32 [batch] = Add(x, x)
 * //   output y = Add_0
 */
export function printGraph(graph: Graph, options: PrintOptions = {}): string {
  const limit = options.maxNodes ?? graph.nodes.length;
  const parameters = [...graph.parameters.values()];
  const total = parameters.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const lines = [
    ...graph.inputs.map((input) => `input ${typed(input)}`),
    ...parameters.map(({ name, dtype, shape }) => `parameter ${name}: ${dtype} ${printShape(shape)}`),
    ...graph.nodes.slice(0, limit).map((node) => printNode(node)),
    ...(graph.nodes.length > limit ? [`… ${graph.nodes.length - limit} more nodes`] : []),
    ...[...graph.outputs].map(([name, tensor]) => `output ${name} = ${tensor.name}`),
  ];
  const count = parameters.length === 0 ? '' : ` (${total.toLocaleString('en-US')} parameters in ${parameters.length} ${parameters.length === 1 ? 'tensor' : 'tensors'})`;
  return [`graph ${graph.name}${count}`, ...lines.map((line) => `  ${line}`)].join('\n');
}

/** One node: `y: float32 [batch, 3] = Gemm(x, weight, transB=1)`. Constants are printed in place, a missing input is `_`. */
export function printNode(node: Node): string {
  const inputs = node.inputs.map((input) => (input === null ? '_' : operand(input)));
  const attributes = Object.entries(node.attributes).map(([name, attribute]) => `${name}=${printAttribute(attribute)}`);
  const operator = node.domain === '' ? node.opType : `${node.domain}.${node.opType}`;
  return `${node.outputs.map(typed).join(', ')} = ${operator}(${[...inputs, ...attributes].join(', ')})`;
}

function typed(tensor: Tensor): string {
  return `${tensor.name}: ${tensor.dtype} ${printShape(tensor.shape)}`;
}

function operand(tensor: Tensor): string {
  const constant = tensor.graph.constants.get(tensor.name);
  return constant === undefined ? tensor.name : printData(constant);
}

function printList(values: readonly unknown[], total: number): string {
  return `[${values.join(', ')}${total > values.length ? `, … ${total - values.length} more` : ''}]`;
}

/** A scalar is its number; larger tensors say their shape. 16-bit floats are not decoded. */
function printData({ dtype, shape, data }: TensorData): string {
  if (dtype === 'float16' || dtype === 'bfloat16') return `${dtype} ${printShape(shape)}`;
  const values =
    data instanceof BigInt64Array
      ? Array.from(data.subarray(0, MAX_ELEMENTS), String)
      : Array.from(data.subarray(0, MAX_ELEMENTS), (value) => String(Number(value.toPrecision(6))));
  if (shape.length === 0) return values[0] ?? '';
  return shape.length === 1 ? printList(values, data.length) : `${printShape(shape)} ${printList(values, data.length)}`;
}

function printAttribute(attribute: Attribute): string {
  switch (attribute.type) {
    case 'int':
      return String(attribute.value);
    case 'float':
      return String(Number(attribute.value.toPrecision(6)));
    case 'string':
      return JSON.stringify(attribute.value);
    case 'ints':
    case 'floats':
      return printList(attribute.value.slice(0, MAX_ELEMENTS), attribute.value.length);
    case 'strings':
      return printList(attribute.value.slice(0, MAX_ELEMENTS).map((value) => JSON.stringify(value)), attribute.value.length);
    case 'tensor':
      return printData(attribute.value);
  }
}
