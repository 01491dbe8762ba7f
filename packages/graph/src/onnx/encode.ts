/**
 * Messages → protobuf bytes. Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
 * Tensors' bytes are not copied on the way: a message is a list of chunks, put together once at the end.
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto } from './model.ts';
import { ATTRIBUTE_TYPE } from './model.ts';

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
