/**
 * ONNX's messages (onnx.proto, IR version 10), as far as graphs without subgraphs use them, over protobuf's wire format.
 * Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Next: `write.ts`, `read.ts`.
 *
 * Tensors' bytes are never copied while encoding: a message is a list of chunks, put together once at the end.
 */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** A tensor: its bytes are `raw`, or lie in a file (`external`), or (from other writers) in one of the typed lists. */
export interface TensorProto {
  readonly name: string;
  readonly dims: readonly number[];
  readonly dataType: number;
  readonly raw: Uint8Array | undefined;
  /** `location`, `offset`, `length`. */
  readonly external: ReadonlyMap<string, string> | undefined;
  /** float_data, int32_data, double_data or int64_data; written as float_data or int64_data. */
  readonly values: readonly number[] | readonly bigint[];
  readonly doc: string;
}

/** AttributeProto.AttributeType. */
export const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, tensor: 4, floats: 6, ints: 7, strings: 8 } as const;

export interface AttributeProto {
  readonly name: string;
  readonly type: number;
  readonly f: number;
  readonly i: bigint;
  readonly s: string;
  readonly t: TensorProto | undefined;
  readonly floats: readonly number[];
  readonly ints: readonly bigint[];
  readonly strings: readonly string[];
}

export interface NodeProto {
  readonly opType: string;
  readonly domain: string;
  readonly name: string;
  /** `''` stands for a missing optional input. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: readonly AttributeProto[];
}

export interface ValueInfoProto {
  readonly name: string;
  readonly elemType: number;
  /** undefined: not known. A dim that is not known is `''`. */
  readonly shape: readonly (number | string)[] | undefined;
  readonly doc: string;
}

export interface GraphProto {
  readonly name: string;
  readonly nodes: readonly NodeProto[];
  readonly initializers: readonly TensorProto[];
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
  readonly valueInfo: readonly ValueInfoProto[];
}

export interface ModelProto {
  readonly irVersion: number;
  readonly producer: string;
  /** Domain → version. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly graph: GraphProto;
}

// --- encoding ---------------------------------------------------------------------------------------------------------

type Chunks = readonly Uint8Array[];

function byteLength(chunks: Chunks): number {
  return chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
}

/** A length-delimited field whose payload is in chunks. */
function field(number: number, payload: Chunks): Chunks {
  return [new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(byteLength(payload)).finish(), ...payload];
}

function text(writer: BinaryWriter, number: number, value: string): void {
  writer.tag(number, WireType.LengthDelimited).string(value);
}

function encodeTensor(tensor: TensorProto): Chunks {
  const writer = new BinaryWriter();
  for (const dim of tensor.dims) writer.tag(1, WireType.Varint).int64(dim);
  writer.tag(2, WireType.Varint).int32(tensor.dataType);
  text(writer, 8, tensor.name);
  if (tensor.doc !== '') text(writer, 12, tensor.doc);
  for (const [key, value] of tensor.external ?? []) {
    writer.tag(13, WireType.LengthDelimited).fork();
    text(writer, 1, key);
    text(writer, 2, value);
    writer.join();
  }
  if (tensor.external !== undefined) writer.tag(14, WireType.Varint).int32(1);
  for (const value of tensor.values) {
    if (typeof value === 'bigint') writer.tag(7, WireType.Varint).int64(value);
    else writer.tag(4, WireType.Bit32).float(value);
  }
  const head = writer.finish();
  return tensor.raw === undefined ? [head] : [head, ...field(9, [tensor.raw])];
}

function encodeAttribute(attribute: AttributeProto): Chunks {
  const writer = new BinaryWriter();
  text(writer, 1, attribute.name);
  writer.tag(20, WireType.Varint).int32(attribute.type);
  switch (attribute.type) {
    case ATTRIBUTE_TYPE.float:
      writer.tag(2, WireType.Bit32).float(attribute.f);
      break;
    case ATTRIBUTE_TYPE.int:
      writer.tag(3, WireType.Varint).int64(attribute.i);
      break;
    case ATTRIBUTE_TYPE.string:
      text(writer, 4, attribute.s);
      break;
  }
  for (const value of attribute.floats) writer.tag(7, WireType.Bit32).float(value);
  for (const value of attribute.ints) writer.tag(8, WireType.Varint).int64(value);
  for (const value of attribute.strings) text(writer, 9, value);
  const head = writer.finish();
  return attribute.t === undefined ? [head] : [head, ...field(5, encodeTensor(attribute.t))];
}

function encodeNode(node: NodeProto): Chunks {
  const writer = new BinaryWriter();
  for (const input of node.inputs) text(writer, 1, input);
  for (const output of node.outputs) text(writer, 2, output);
  text(writer, 3, node.name);
  text(writer, 4, node.opType);
  if (node.domain !== '') text(writer, 7, node.domain);
  return [writer.finish(), ...node.attributes.flatMap((attribute) => field(5, encodeAttribute(attribute)))];
}

function encodeValueInfo(info: ValueInfoProto): Chunks {
  const writer = new BinaryWriter();
  text(writer, 1, info.name);
  writer.tag(2, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).fork(); // TypeProto.tensor_type
  writer.tag(1, WireType.Varint).int32(info.elemType);
  if (info.shape !== undefined) {
    writer.tag(2, WireType.LengthDelimited).fork();
    for (const dim of info.shape) {
      writer.tag(1, WireType.LengthDelimited).fork();
      if (typeof dim === 'number') writer.tag(1, WireType.Varint).int64(dim);
      else if (dim !== '') text(writer, 2, dim);
      writer.join();
    }
    writer.join();
  }
  writer.join().join();
  if (info.doc !== '') text(writer, 3, info.doc);
  return [writer.finish()];
}

function encodeGraph(graph: GraphProto): Chunks {
  const name = new BinaryWriter();
  text(name, 2, graph.name);
  return [
    ...graph.nodes.flatMap((node) => field(1, encodeNode(node))),
    name.finish(),
    ...graph.initializers.flatMap((tensor) => field(5, encodeTensor(tensor))),
    ...graph.inputs.flatMap((info) => field(11, encodeValueInfo(info))),
    ...graph.outputs.flatMap((info) => field(12, encodeValueInfo(info))),
    ...graph.valueInfo.flatMap((info) => field(13, encodeValueInfo(info))),
  ];
}

/** The bytes of an `.onnx` file. Messages end at 2 GiB: larger weights must be external. */
export function encodeModel(model: ModelProto): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(model.irVersion);
  text(writer, 2, model.producer);
  for (const [domain, version] of model.opsets) {
    writer.tag(8, WireType.LengthDelimited).fork();
    text(writer, 1, domain);
    writer.tag(2, WireType.Varint).int64(version).join();
  }
  const chunks = [writer.finish(), ...field(7, encodeGraph(model.graph))];
  const bytes = new Uint8Array(byteLength(chunks));
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}

// --- decoding ---------------------------------------------------------------------------------------------------------

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
