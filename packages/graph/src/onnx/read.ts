/**
 * ModelProto bytes → Graph. Files are hostile: whatever is wrong with them ends in QRT_GRAPH_FORMAT, and nothing larger than
 * the file itself is allocated. Inputs, parameters and outputs keep their names; the tensors between get new ones.
 */
import { join } from 'node:path';
import type { Attribute, DType, Graph, ParameterData, ParameterSet, Shape, Tensor, TensorData } from '@querent/core';
import { BYTES_PER_ELEMENT, QuerentError, allocate, elementCount, isQuerentError, viewAs } from '@querent/core';
import type { OutputSpec } from '../graph.ts';
import { GraphBuilder } from '../graph.ts';
import { constantNumbers } from '../ops/op.ts';
import { ONNX_DTYPE_OF, inferOutputs } from '../shape.ts';
import { UnreadField, decodeModel } from './decode.ts';
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto } from './model.ts';
import { ATTRIBUTE_TYPE } from './model.ts';
import { DOC_CONSTANT, DOC_PARAMETER, STORED_SUFFIX } from './write.ts';

export interface ReadOnnxOptions {
  /** The folder of the model file, for weights that lie in files beside it. */
  readonly directory?: string;
}

export interface ReadOnnxResult {
  /** Can be added to, like a graph made by `createGraph`. */
  readonly graph: Graph;
  /** Bytes of the initializers that became parameters: views of the model's bytes, or files. */
  readonly parameters: ParameterSet;
  /** Domain (`''` is ai.onnx) → version of its operators that the file was written for. */
  readonly opsets: ReadonlyMap<string, number>;
}

/** More axes than any operator takes. */
const MAX_RANK = 16;
/** Dims are polynomials: bounds how many terms the product of a shape's dims can have. */
const MAX_TERMS = 1024;
const MAX_DIM_LENGTH = 1000;

/**
 * Reads an ONNX model. Initializers become parameters when they are floats with an axis (or lie in files), else constants;
 * `Constant` nodes become constants. Nothing that a file names is opened.
 *
 * @param bytes a whole `.onnx` file; the result keeps views of it.
 * @throws QuerentError QRT_GRAPH_FORMAT when the bytes are damaged, or use what is not read (subgraphs, functions, strings,
 * sparse tensors), or an operator's shape is neither in the file nor known here.
 */
export function readOnnx(bytes: Uint8Array, options: ReadOnnxOptions = {}): ReadOnnxResult {
  try {
    return new Reader(decodeModel(bytes), options).read();
  } catch (error) {
    if (isQuerentError(error) && error.code === 'QRT_GRAPH_FORMAT') throw error;
    if (error instanceof UnreadField) throw formatError(`it has ${error.message}, which is not read.`);
    const reason = error instanceof Error ? error.message : String(error);
    throw formatError(reason, 'Is the file whole, and an ONNX model?', error);
  }
}

function formatError(problem: string, fix?: string, cause?: unknown): QuerentError {
  return new QuerentError('QRT_GRAPH_FORMAT', `This ONNX model cannot be read: ${problem}`, { ...(fix === undefined ? {} : { fix }), cause });
}

class Reader {
  readonly #proto: GraphProto;
  readonly #opsets: ReadonlyMap<string, number>;
  readonly #directory: string | undefined;
  readonly #builder: GraphBuilder;
  readonly #parameters: Map<string, ParameterData> = new Map();
  /** Name in the file → tensor. */
  readonly #tensors: Map<string, Tensor> = new Map();
  readonly #known: Map<string, OutputSpec> = new Map();
  #unknownDims = 0;

  constructor(model: ModelProto, options: ReadOnnxOptions) {
    this.#proto = model.graph;
    this.#opsets = model.opsets;
    this.#directory = options.directory;
    this.#builder = new GraphBuilder(model.graph.name);
  }

  read(): ReadOnnxResult {
    const { initializers, inputs, nodes, outputs, valueInfo } = this.#proto;
    const initialized = new Set(initializers.map(({ name }) => name));
    for (const info of inputs) if (!initialized.has(info.name)) this.#addInput(info); // before IR 4 initializers were inputs too
    const storedAs = new Map(nodes.flatMap((node) => storedParameter(node, initialized)));
    for (const initializer of initializers) this.#addInitializer(initializer, storedAs.get(initializer.name));
    for (const info of [...valueInfo, ...outputs]) {
      if (info.shape !== undefined && info.elemType !== 0) this.#known.set(info.name, this.#spec(info));
    }
    const castAway = new Set(storedAs.values());
    for (const node of nodes) if (!castAway.has(node.outputs[0] ?? '')) this.#addNode(node);
    for (const { name } of outputs) {
      if (this.#builder.outputs.has(name)) throw formatError(`there are two outputs called ${name}.`);
      this.#builder.outputs.set(name, this.#find(name, 'the graph'));
    }
    return { graph: this.#builder, parameters: this.#parameters, opsets: this.#opsets };
  }

  #define(name: string, tensor: Tensor): void {
    if (name === '' || this.#tensors.has(name)) throw formatError(`two tensors are called "${name}".`);
    this.#tensors.set(name, tensor);
  }

  #find(name: string, who: string): Tensor {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) throw formatError(`${who} uses "${name}", which nothing before it makes.`);
    return tensor;
  }

  #spec(info: ValueInfoProto): OutputSpec {
    const shape = (info.shape ?? []).map((dim) => {
      if (dim === '') return `unknown_${this.#unknownDims++}`;
      if (typeof dim === 'number' && !(Number.isSafeInteger(dim) && dim >= 0)) throw formatError(`${info.name} has a dim of ${dim}.`);
      return dim;
    });
    return { dtype: dtypeOf(info.elemType, info.name), shape: bounded(shape, info.name) };
  }

  #addInput(info: ValueInfoProto): void {
    if (info.shape === undefined) throw formatError(`input ${info.name} has no shape.`);
    const { dtype, shape } = this.#spec(info);
    if (info.doc !== DOC_PARAMETER) this.#define(info.name, this.#builder.addInput(info.name, dtype, shape));
    else this.#define(info.name, this.#builder.addParameter(info.name, numbers(shape, info.name), { dtype }));
  }

  /** `stored` is the parameter's name where a Cast makes it from this initializer. */
  #addInitializer(proto: TensorProto, stored: string | undefined): void {
    const data = readTensor(proto, this.#directory);
    const isParameter = proto.doc === DOC_PARAMETER || 'file' in data || (isFloat(data.dtype) && data.shape.length > 0);
    if ('file' in data || (isParameter && proto.doc !== DOC_CONSTANT)) {
      const name = stored ?? proto.name;
      const dtype = stored === undefined ? data.dtype : 'float32';
      if (this.#tensors.has(name)) throw formatError(`two tensors are called "${name}".`);
      this.#parameters.set(name, data);
      this.#define(name, this.#builder.addParameter(name, data.shape, { dtype }));
    } else this.#define(proto.name, this.#builder.addConstant(data));
  }

  #addNode(node: NodeProto): void {
    const who = `${node.opType} "${node.name}"`;
    if (node.opType === 'Constant' && node.domain === '') {
      this.#define(node.outputs[0] ?? '', this.#builder.addConstant(constantValue(node, who)));
      return;
    }
    const inputs = node.inputs.map((name) => (name === '' ? null : this.#find(name, who)));
    const attributes = Object.fromEntries(node.attributes.map((attribute) => [attribute.name, readAttribute(attribute, who)]));
    const results = this.#builder.addNode(node.opType, node.domain, inputs, attributes, this.#outputSpecs(node, inputs, attributes, who));
    node.outputs.forEach((name, i) => {
      if (name !== '') this.#define(name, results[i]!); // one result for each output spec
    });
  }

  #outputSpecs(node: NodeProto, inputs: readonly (Tensor | null)[], attributes: Readonly<Record<string, Attribute>>, who: string): OutputSpec[] {
    let inferred: readonly OutputSpec[] = [];
    let failure: unknown;
    if (!node.outputs.every((name) => name === '' || this.#known.has(name))) {
      try {
        const constant = (index: number): readonly number[] | undefined => {
          const input = inputs[index];
          return input === null || input === undefined ? undefined : constantNumbers(input);
        };
        inferred = inferOutputs({ opType: node.opType, inputs, attributes, constant });
      } catch (error) {
        failure = error;
      }
    }
    return node.outputs.map((name, i) => {
      const spec = this.#known.get(name) ?? inferred[i] ?? (name === '' ? { dtype: 'float32' as const, shape: [] } : undefined);
      if (spec === undefined) {
        const reason = isQuerentError(failure) ? ` (${failure.message})` : '';
        throw formatError(`the shape of ${who}'s output "${name}" is not in the file and cannot be inferred here${reason}.`, 'Run ONNX shape inference on the model first.', failure);
      }
      bounded(spec.shape, name);
      return spec;
    });
  }
}

/** `[initializer, parameter]` where a node casts a stored parameter to the dtype that the graph declares. */
function storedParameter(node: NodeProto, initialized: ReadonlySet<string>): [string, string][] {
  const [input, output] = [node.inputs[0] ?? '', node.outputs[0] ?? ''];
  const to = node.attributes.find(({ name }) => name === 'to')?.i;
  const isStored = node.opType === 'Cast' && input === output + STORED_SUFFIX && initialized.has(input) && to === 1n;
  return isStored ? [[input, output]] : [];
}

function isFloat(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16' || dtype === 'float64';
}

function dtypeOf(elemType: number, name: string): DType {
  const dtype = ONNX_DTYPE_OF[elemType];
  if (dtype === undefined) throw formatError(`${name} has element type ${elemType}, which is not read.`);
  return dtype;
}

function bounded(shape: Shape, name: string): Shape {
  if (shape.length > MAX_RANK) throw formatError(`${name} has ${shape.length} axes; ${MAX_RANK} are read.`);
  const symbols = shape.filter((dim) => typeof dim === 'string');
  const terms = symbols.reduce((product, dim) => product * dim.split(/ [+-] /).length, 1);
  if (terms > MAX_TERMS || symbols.some((dim) => dim.length > MAX_DIM_LENGTH)) throw formatError(`the dims of ${name} are too long.`);
  return shape;
}

function numbers(shape: Shape, name: string): readonly number[] {
  return shape.map((dim) => {
    if (typeof dim === 'number') return dim;
    throw formatError(`parameter ${name} has the named dim ${dim}.`);
  });
}

function readTensor(proto: TensorProto, directory: string | undefined): ParameterData {
  const who = proto.name === '' ? 'a tensor' : `tensor ${proto.name}`;
  const dtype = dtypeOf(proto.dataType, who);
  const shape = proto.dims;
  if (!shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0)) throw formatError(`${who} has dims [${shape.slice(0, MAX_RANK).join(', ')}].`);
  bounded(shape, who);
  const byteLength = elementCount(shape) * BYTES_PER_ELEMENT[dtype];
  if (proto.external !== undefined) return fileTensor(proto.external, dtype, shape, byteLength, directory, who);
  if (proto.raw !== undefined) {
    if (proto.raw.byteLength !== byteLength) throw formatError(`${who} [${shape.join(', ')}] ${dtype} has ${proto.raw.byteLength} bytes.`);
    return { dtype, shape, data: viewAs(dtype, proto.raw) };
  }
  if (proto.values.length !== elementCount(shape)) throw formatError(`${who} [${shape.join(', ')}] has ${proto.values.length} values.`);
  const data = allocate(dtype, proto.values.length);
  proto.values.forEach((value: number | bigint, i: number) => {
    if (data instanceof BigInt64Array) data[i] = typeof value === 'bigint' ? value : BigInt(Math.trunc(value));
    else data[i] = Number(value);
  });
  return { dtype, shape, data };
}

function fileTensor(
  external: ReadonlyMap<string, string>, dtype: DType, shape: readonly number[], byteLength: number, directory: string | undefined, who: string,
): ParameterData {
  const location = external.get('location') ?? '';
  if (!/^[^/\\:\0][^\\:\0]*$/.test(location) || location.split('/').includes('..')) {
    throw formatError(`${who} lies in "${location}", which is not a file below the model's folder.`);
  }
  if (directory === undefined) throw formatError(`${who} lies in the file "${location}".`, 'Give the folder of the model: readOnnx(bytes, { directory }).');
  const [offset, length] = [Number(external.get('offset') ?? '0'), Number(external.get('length') ?? String(byteLength))];
  if (!Number.isSafeInteger(offset) || offset < 0 || length !== byteLength) {
    throw formatError(`${who} [${shape.join(', ')}] ${dtype} lies at ${offset} with ${length} bytes in "${location}"; it needs ${byteLength}.`);
  }
  return { dtype, shape, file: join(directory, location), offset, byteLength };
}

function inlineOnly(proto: TensorProto, who: string): TensorData {
  const data = readTensor(proto, undefined);
  if ('file' in data) throw formatError(`${who} lies in a file.`);
  return data;
}

/** A number that an int64 holds exactly in JavaScript; larger ones (INT64_MAX for "the end") are cut to the safe range. */
function integer(value: bigint): number {
  const limit = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(value > limit ? limit : value < -limit ? -limit : value);
}

function readAttribute(proto: AttributeProto, who: string): Attribute {
  switch (proto.type) {
    case ATTRIBUTE_TYPE.int:
      return { type: 'int', value: integer(proto.i) };
    case ATTRIBUTE_TYPE.float:
      return { type: 'float', value: proto.f };
    case ATTRIBUTE_TYPE.string:
      return { type: 'string', value: proto.s };
    case ATTRIBUTE_TYPE.ints:
      return { type: 'ints', value: proto.ints.map(integer) };
    case ATTRIBUTE_TYPE.floats:
      return { type: 'floats', value: proto.floats };
    case ATTRIBUTE_TYPE.strings:
      return { type: 'strings', value: proto.strings };
    case ATTRIBUTE_TYPE.tensor:
      if (proto.t !== undefined) return { type: 'tensor', value: inlineOnly(proto.t, `${who}'s ${proto.name}`) };
  }
  throw formatError(`${who} has the attribute ${proto.name} of type ${proto.type}, which is not read.`);
}

function constantValue(node: NodeProto, who: string): TensorData {
  const attribute = node.attributes.map((proto) => readAttribute(proto, who))[0];
  switch (attribute?.type) {
    case 'tensor':
      return attribute.value;
    case 'int':
      return { dtype: 'int64', shape: [], data: BigInt64Array.of(BigInt(attribute.value)) };
    case 'ints':
      return { dtype: 'int64', shape: [attribute.value.length], data: BigInt64Array.from(attribute.value, BigInt) };
    case 'float':
      return { dtype: 'float32', shape: [], data: Float32Array.of(attribute.value) };
    case 'floats':
      return { dtype: 'float32', shape: [attribute.value.length], data: Float32Array.from(attribute.value) };
    default:
      throw formatError(`${who} is of a kind that is not read.`);
  }
}
