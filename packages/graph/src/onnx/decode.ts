/**
 * Protobuf bytes → messages. Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Fields that are
 * not known are skipped; those that would change what a graph means are refused.
 */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto } from './model.ts';

/** A field that a graph may not use here: subgraphs, functions, sparse tensors, strings. */
export class UnreadField extends Error {}

type FieldHandler = (reader: BinaryReader, wireType: WireType) => void;

/** Walks a message; fields without a handler are skipped. Throws on truncated or malformed bytes. */
function decode(bytes: Uint8Array, handlers: Readonly<Record<number, FieldHandler>>): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    const handler = handlers[number];
    if (handler === undefined) reader.skip(wireType, number);
    else handler(reader, wireType);
  }
}

function refuse(what: string): FieldHandler {
  return () => {
    throw new UnreadField(what);
  };
}

/** A repeated scalar: packed (one length-delimited run) or one by one. */
function repeated<T>(into: T[], read: (reader: BinaryReader) => T): FieldHandler {
  return (reader, wireType) => {
    if (wireType !== WireType.LengthDelimited) {
      into.push(read(reader));
      return;
    }
    const run = new BinaryReader(reader.bytes());
    while (run.pos < run.len) into.push(read(run));
  };
}

const readInt64 = (reader: BinaryReader): bigint => BigInt(reader.int64());

function decodeTensor(bytes: Uint8Array): TensorProto {
  const dims: bigint[] = [];
  const floats: number[] = [];
  const integers: bigint[] = [];
  const external = new Map<string, string>();
  let [name, doc, dataType, isExternal] = ['', '', 0, false];
  let raw: Uint8Array | undefined;
  decode(bytes, {
    1: repeated(dims, readInt64),
    2: (reader) => (dataType = reader.int32()),
    3: refuse('a segmented tensor'),
    4: repeated(floats, (reader) => reader.float()),
    5: repeated(integers, (reader) => BigInt(reader.int32())),
    6: refuse('a tensor of strings'),
    7: repeated(integers, readInt64),
    8: (reader) => (name = reader.string()),
    9: (reader) => (raw = reader.bytes()),
    10: repeated(floats, (reader) => reader.double()),
    11: refuse('a tensor of unsigned 64-bit integers'),
    12: (reader) => (doc = reader.string()),
    13: (reader) => {
      let [key, value] = ['', ''];
      decode(reader.bytes(), { 1: (entry) => (key = entry.string()), 2: (entry) => (value = entry.string()) });
      external.set(key, value);
    },
    14: (reader) => (isExternal = reader.int32() === 1),
  });
  return {
    name,
    dims: dims.map(Number),
    dataType,
    raw,
    external: isExternal ? external : undefined,
    values: floats.length > 0 ? floats : integers,
    doc,
  };
}

function decodeAttribute(bytes: Uint8Array): AttributeProto {
  const floats: number[] = [];
  const ints: bigint[] = [];
  const strings: string[] = [];
  let [name, type, f, i, s] = ['', 0, 0, 0n, ''];
  let t: TensorProto | undefined;
  decode(bytes, {
    1: (reader) => (name = reader.string()),
    2: (reader) => (f = reader.float()),
    3: (reader) => (i = readInt64(reader)),
    4: (reader) => (s = reader.string()),
    5: (reader) => (t = decodeTensor(reader.bytes())),
    6: refuse('an attribute that is a subgraph'),
    7: repeated(floats, (reader) => reader.float()),
    8: repeated(ints, readInt64),
    9: (reader) => strings.push(reader.string()),
    10: refuse('an attribute that is a list of tensors'),
    11: refuse('an attribute that is a list of subgraphs'),
    20: (reader) => (type = reader.int32()),
    21: refuse('an attribute taken from a function'),
    22: refuse('a sparse tensor'),
    23: refuse('a sparse tensor'),
  });
  return { name, type, f, i, s, t, floats, ints, strings };
}

function decodeNode(bytes: Uint8Array): NodeProto {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes: AttributeProto[] = [];
  let [name, opType, domain] = ['', '', ''];
  decode(bytes, {
    1: (reader) => inputs.push(reader.string()),
    2: (reader) => outputs.push(reader.string()),
    3: (reader) => (name = reader.string()),
    4: (reader) => (opType = reader.string()),
    5: (reader) => attributes.push(decodeAttribute(reader.bytes())),
    7: (reader) => (domain = reader.string()),
  });
  return { opType, domain: domain === 'ai.onnx' ? '' : domain, name, inputs, outputs, attributes };
}

function decodeValueInfo(bytes: Uint8Array): ValueInfoProto {
  let [name, elemType, doc] = ['', 0, ''];
  let shape: (number | string)[] | undefined;
  const decodeDim: FieldHandler = (reader) => {
    let dim: number | string = '';
    decode(reader.bytes(), { 1: (r) => (dim = Number(r.int64())), 2: (r) => (dim = r.string()) });
    shape?.push(dim);
  };
  const decodeShape: FieldHandler = (reader) => {
    shape = [];
    decode(reader.bytes(), { 1: decodeDim });
  };
  const decodeType: FieldHandler = (reader) =>
    decode(reader.bytes(), {
      1: (r) => decode(r.bytes(), { 1: (type) => (elemType = type.int32()), 2: decodeShape }),
      4: refuse('a value that is a sequence'),
      5: refuse('a value that is a map'),
      8: refuse('a sparse tensor'),
      9: refuse('an optional value'),
    });
  decode(bytes, { 1: (reader) => (name = reader.string()), 2: decodeType, 3: (reader) => (doc = reader.string()) });
  return { name, elemType, shape, doc };
}

function decodeGraph(bytes: Uint8Array): GraphProto {
  const nodes: NodeProto[] = [];
  const initializers: TensorProto[] = [];
  const inputs: ValueInfoProto[] = [];
  const outputs: ValueInfoProto[] = [];
  const valueInfo: ValueInfoProto[] = [];
  let name = '';
  decode(bytes, {
    1: (reader) => nodes.push(decodeNode(reader.bytes())),
    2: (reader) => (name = reader.string()),
    5: (reader) => initializers.push(decodeTensor(reader.bytes())),
    11: (reader) => inputs.push(decodeValueInfo(reader.bytes())),
    12: (reader) => outputs.push(decodeValueInfo(reader.bytes())),
    13: (reader) => valueInfo.push(decodeValueInfo(reader.bytes())),
    15: refuse('a sparse initializer'),
  });
  return { name, nodes, initializers, inputs, outputs, valueInfo };
}

/**
 * The messages of an `.onnx` file. Tensors' bytes are views of `bytes`. Throws {@link UnreadField} or protobuf's plain
 * errors: `read.ts` turns both into coded ones.
 */
export function decodeModel(bytes: Uint8Array): ModelProto {
  const opsets = new Map<string, number>();
  let [irVersion, producer] = [0, ''];
  let graph: GraphProto | undefined;
  decode(bytes, {
    1: (reader) => (irVersion = Number(reader.int64())),
    2: (reader) => (producer = reader.string()),
    7: (reader) => (graph = decodeGraph(reader.bytes())),
    8: (reader) => {
      let [domain, version] = ['', 0];
      decode(reader.bytes(), { 1: (r) => (domain = r.string()), 2: (r) => (version = Number(r.int64())) });
      opsets.set(domain === 'ai.onnx' ? '' : domain, version);
    },
    25: refuse('a model-local function'),
  });
  if (graph === undefined) throw new UnreadField('a model without a graph');
  return { irVersion, producer, opsets, graph };
}
