/**
 * ONNX's messages (onnx.proto, IR version 10), as far as graphs without subgraphs use them. How they lie in bytes is in
 * `encode.ts` and `decode.ts`; what they mean as a graph in `write.ts` and `read.ts`.
 */
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
