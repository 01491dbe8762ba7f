/**
 * Graph → ModelProto bytes. Parameters become initializers (in the model, or pointing into weight files) or graph inputs;
 * only what the chosen outputs need is written.
 */
import { isAbsolute, relative, sep } from 'node:path';
import type { Attribute, Graph, Node, ParameterData, ParameterSet, Tensor, TensorData } from '@querent/core';
import { BYTES_PER_ELEMENT, QuerentError, elementCount, isFileTensor } from '@querent/core';
import { printShape } from '../dims.ts';
import { ONNX_DTYPE } from '../shape.ts';
import { encodeModel } from './encode.ts';
import type { AttributeProto, NodeProto, TensorProto, ValueInfoProto } from './model.ts';
import { ATTRIBUTE_TYPE } from './model.ts';

export interface WriteOnnxOptions {
  /** The parameters' bytes. When absent, every parameter becomes a graph input. */
  readonly parameters?: ParameterSet;
  /** Parameters that become graph inputs all the same. */
  readonly asInputs?: ReadonlySet<string>;
  /** Public names of the outputs wanted; all when absent. */
  readonly outputs?: readonly string[];
  /** The folder that the model file will lie in: files of parameters are named relative to it, and must be below it. */
  readonly externalRoot?: string;
  /**
   * Write the nodes that nothing but an output reads behind all others, the last one first. A runtime that walks back from the last node
   * (onnxruntime) then computes each output as soon as it can be, and need not keep what it is made of. Default: in the order of the graph.
   */
  readonly resultsLast?: boolean;
  /** Version of the ai.onnx operators, 21 or later. Default 24. */
  readonly opset?: number;
}

/** Says how a reader should take an initializer or input: ONNX itself does not distinguish. */
export const DOC_CONSTANT = 'constant';
export const DOC_PARAMETER = 'parameter';
/** What a parameter's initializer is called when its bytes have another float type than the graph declares. */
export const STORED_SUFFIX = '.stored';

const IR_VERSION = 10;
const MAX_MESSAGE_BYTES = 2 ** 31 - 1;

/** Operators whose outputs from this index on may be left out. */
const FIRST_OPTIONAL_OUTPUT: Readonly<Record<string, number>> = {
  Attention: 1,
  Dropout: 1,
  GroupQueryAttention: 1,
  LayerNormalization: 1,
  MaxPool: 1,
  MultiHeadAttention: 1,
  SimplifiedLayerNormalization: 1,
  SkipLayerNormalization: 1,
  SkipSimplifiedLayerNormalization: 1,
  SoftmaxCrossEntropyLoss: 1,
};

/**
 * The bytes of an `.onnx` model (IR 10, opset 24, com.microsoft 1). Each graph output has its public name; named dims become `dim_param`s.
 *
 * @throws QuerentError QRT_CHECKPOINT_MISMATCH when needed parameters have no bytes, or bytes of another shape or kind.
 * @throws QuerentError QRT_FILE when a parameter's file is not below `externalRoot`.
 * @throws QuerentError QRT_USAGE when an output does not exist, a name stands for two things, or the model would be larger than 2 GiB.
 *
 * @example
 * const bytes = writeOnnx(g.graph, { parameters, asInputs: new Set(['head.weight']) });
 */
export function writeOnnx(graph: Graph, options: WriteOnnxOptions = {}): Uint8Array {
  const outputs = chosenOutputs(graph, options.outputs);
  const needed = neededTensors(graph, outputs);
  const names = new OnnxNames(graph, outputs);
  const isInput = (name: string): boolean => options.parameters === undefined || options.asInputs?.has(name) === true;

  const parameters = [...graph.parameters.values()].filter(({ tensor }) => needed.has(tensor.name));
  const frozen = frozenParameters(graph, parameters.map(({ name }) => name).filter((name) => !isInput(name)), options);
  const constants = [...graph.constants]
    .filter(([name]) => needed.has(name))
    .map(([name, data]) => inlineTensor(names.of(name), data, DOC_CONSTANT));
  const initializers = [...frozen.tensors, ...constants];
  const inline = initializers.reduce((sum, { raw }) => sum + (raw?.byteLength ?? 0), 0);
  if (inline > MAX_MESSAGE_BYTES) {
    throw new QuerentError('QRT_USAGE', `Graph ${graph.name} holds ${inline} bytes of weights; an ONNX model ends at 2 GiB.`, {
      fix: 'Give the parameters as files (FileTensor) with externalRoot, or list them in asInputs.',
    });
  }

  const used = graph.nodes.filter((node) => node.outputs.some((output) => needed.has(output.name)));
  const nodes = options.resultsLast === true ? resultsLast(used) : used;
  const inputs = graph.inputs.filter((input) => options.outputs === undefined || needed.has(input.name));
  const published = new Set(outputs.map(([, tensor]) => tensor.name));
  return encodeModel({
    irVersion: IR_VERSION,
    producer: 'querent',
    opsets: new Map([['', opset(options.opset)], ['com.microsoft', 1]]),
    graph: {
      name: graph.name === '' ? 'graph' : graph.name,
      nodes: [...frozen.casts, ...nodes.map((node) => writeNode(node, names, needed)), ...names.aliases],
      initializers,
      inputs: [
        ...inputs.map((input) => valueInfo(input.name, input)),
        ...parameters.filter(({ name }) => isInput(name)).map(({ name, tensor }) => valueInfo(name, tensor, DOC_PARAMETER)),
      ],
      outputs: outputs.map(([name, tensor]) => valueInfo(name, tensor)),
      valueInfo: nodes
        .flatMap((node) => node.outputs)
        .filter((output) => needed.has(output.name) && !published.has(output.name))
        .map((output) => valueInfo(names.of(output.name), output)),
    },
  });
}

function resultsLast(nodes: readonly Node[]): readonly Node[] {
  const read = new Set(nodes.flatMap((node) => node.inputs.map((input) => input?.name)));
  const isRead = (node: Node): boolean => node.outputs.some((output) => read.has(output.name));
  return [...nodes.filter(isRead), ...nodes.filter((node) => !isRead(node)).reverse()];
}

function opset(version = 24): number {
  if (Number.isInteger(version) && version >= 21) return version;
  throw new QuerentError('QRT_USAGE', `Opset ${version} was asked for; graphs are written for ai.onnx 21 or later.`);
}

function chosenOutputs(graph: Graph, wanted: readonly string[] | undefined): readonly (readonly [string, Tensor])[] {
  if (wanted === undefined) return [...graph.outputs];
  return wanted.map((name) => {
    const tensor = graph.outputs.get(name);
    if (tensor !== undefined) return [name, tensor] as const;
    throw new QuerentError('QRT_USAGE', `Graph ${graph.name} has no output ${name}; it has ${[...graph.outputs.keys()].join(', ') || 'none'}.`);
  });
}

/** Names of all tensors that the outputs depend on, themselves included. */
function neededTensors(graph: Graph, outputs: readonly (readonly [string, Tensor])[]): ReadonlySet<string> {
  const needed = new Set<string>();
  const stack = outputs.map(([, tensor]) => tensor);
  for (let tensor = stack.pop(); tensor !== undefined; tensor = stack.pop()) {
    if (needed.has(tensor.name)) continue;
    needed.add(tensor.name);
    for (const input of graph.producer(tensor)?.inputs ?? []) if (input !== null) stack.push(input);
  }
  return needed;
}

/** Which name a tensor has in the file: its first public output name where a node made it, else its own. */
class OnnxNames {
  /** Identity nodes for outputs that cannot be renamed: inputs, parameters, constants, and second names. */
  readonly aliases: NodeProto[] = [];
  readonly #renamed: Map<string, string> = new Map();
  readonly #reserved: Set<string>;

  constructor(graph: Graph, outputs: readonly (readonly [string, Tensor])[]) {
    const sources = new Set([...graph.inputs.map(({ name }) => name), ...graph.parameters.keys()]);
    this.#reserved = new Set([...sources, ...outputs.map(([name]) => name)]);
    for (const [name, tensor] of outputs) {
      if (sources.has(name) && tensor.name !== name) {
        throw new QuerentError('QRT_USAGE', `Graph ${graph.name} calls both an input and an output ${name}.`, { fix: 'Rename the output.' });
      }
      if (graph.producer(tensor) !== undefined && !this.#renamed.has(tensor.name)) this.#renamed.set(tensor.name, name);
    }
    for (const source of sources) this.#renamed.set(source, source);
    for (const [name, tensor] of outputs) {
      const own = this.of(tensor.name);
      if (own === name) continue;
      this.aliases.push({ opType: 'Identity', domain: '', name: `output:${name}`, inputs: [own], outputs: [name], attributes: [] });
    }
  }

  of(tensor: string): string {
    return this.#renamed.get(tensor) ?? (this.#reserved.has(tensor) ? `${tensor}.inner` : tensor);
  }
}

const FLOATS: ReadonlySet<string> = new Set(['float32', 'float16', 'bfloat16', 'float64']);

function frozenParameters(graph: Graph, names: readonly string[], options: WriteOnnxOptions): { tensors: TensorProto[]; casts: NodeProto[] } {
  const tensors: TensorProto[] = [];
  const casts: NodeProto[] = [];
  const problems: string[] = [];
  for (const name of names) {
    const declared = graph.parameters.get(name)!; // names come from graph.parameters
    const data = options.parameters?.get(name);
    const wanted = `${declared.dtype} ${printShape(declared.shape)}`;
    if (data === undefined) problems.push(`${name} (${wanted}) is missing`);
    else if (printShape(data.shape) !== printShape(declared.shape)) problems.push(`${name} is ${printShape(data.shape)}, the graph has ${wanted}`);
    else if (data.dtype === declared.dtype) tensors.push(writeParameter(name, data, options));
    else if (FLOATS.has(data.dtype) && FLOATS.has(declared.dtype)) {
      const stored = name + STORED_SUFFIX;
      tensors.push(writeParameter(stored, data, options));
      const to: AttributeProto = writeAttribute('to', { type: 'int', value: ONNX_DTYPE[declared.dtype] });
      casts.push({ opType: 'Cast', domain: '', name: `cast:${name}`, inputs: [stored], outputs: [name], attributes: [to] });
    } else problems.push(`${name} is ${data.dtype}, the graph has ${wanted}`);
  }
  if (problems.length > 0) {
    const more = problems.length > 8 ? `; and ${problems.length - 8} more` : '';
    throw new QuerentError('QRT_CHECKPOINT_MISMATCH', `Graph ${graph.name}: ${problems.slice(0, 8).join('; ')}${more}.`, {
      fix: 'Load the checkpoint that this config belongs to, or list parameters in asInputs.',
      details: problems,
    });
  }
  return { tensors, casts };
}

function writeParameter(name: string, data: ParameterData, options: WriteOnnxOptions): TensorProto {
  if (!isFileTensor(data)) return inlineTensor(name, data, DOC_PARAMETER);
  const { externalRoot } = options;
  const location = externalRoot === undefined ? undefined : relative(externalRoot, data.file);
  if (location === undefined || location === '' || location.split(sep)[0] === '..' || isAbsolute(location)) {
    throw new QuerentError('QRT_FILE', `Parameter ${name} lies in ${data.file}, which is not below ${externalRoot ?? '(no externalRoot given)'}.`, {
      fix: 'Write the model into a folder that holds all weight files, and give it as externalRoot.',
    });
  }
  const external = new Map([
    ['location', location.split(sep).join('/')],
    ['offset', String(data.offset)],
    ['length', String(data.byteLength)],
  ]);
  return { name, dims: data.shape, dataType: ONNX_DTYPE[data.dtype], raw: undefined, external, values: [], doc: DOC_PARAMETER };
}

function inlineTensor(name: string, tensor: TensorData, doc: string): TensorProto {
  const { data, shape, dtype } = tensor;
  if (data.length !== elementCount(shape)) {
    throw new QuerentError('QRT_USAGE', `Tensor ${name} is ${printShape(shape)} but its data has ${data.length} elements.`);
  }
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.length * BYTES_PER_ELEMENT[dtype]);
  return { name, dims: shape, dataType: ONNX_DTYPE[dtype], raw, external: undefined, values: [], doc };
}

function writeNode(node: Node, names: OnnxNames, needed: ReadonlySet<string>): NodeProto {
  const optionalFrom = FIRST_OPTIONAL_OUTPUT[node.opType] ?? Infinity;
  const outputs = node.outputs.map(({ name }, i) => (i >= optionalFrom && !needed.has(name) ? '' : names.of(name)));
  const inputs = node.inputs.map((input) => (input === null ? '' : names.of(input.name)));
  for (const list of [inputs, outputs]) while (list.at(-1) === '') list.pop();
  const attributes = Object.entries(node.attributes).map(([name, attribute]) => writeAttribute(name, attribute));
  return { opType: node.opType, domain: node.domain, name: node.name, inputs, outputs, attributes };
}

function writeAttribute(name: string, attribute: Attribute): AttributeProto {
  const empty: AttributeProto = { name, type: ATTRIBUTE_TYPE[attribute.type], f: 0, i: 0n, s: '', t: undefined, floats: [], ints: [], strings: [] };
  switch (attribute.type) {
    case 'int':
      return { ...empty, i: BigInt(attribute.value) };
    case 'float':
      return { ...empty, f: attribute.value };
    case 'string':
      return { ...empty, s: attribute.value };
    case 'ints':
      return { ...empty, ints: attribute.value.map(BigInt) };
    case 'floats':
      return { ...empty, floats: attribute.value };
    case 'strings':
      return { ...empty, strings: attribute.value };
    case 'tensor':
      return { ...empty, t: inlineTensor('', attribute.value, '') };
  }
}

function valueInfo(name: string, tensor: Tensor, doc = ''): ValueInfoProto {
  return { name, elemType: ONNX_DTYPE[tensor.dtype], shape: tensor.shape, doc };
}
