/**
 * Weights in blocks of small integers (com.microsoft's MatMulNBits and GatherBlockQuantized), for a library that has no such operators: the
 * graph becomes one of float32 matrices and plain products, and each matrix is unpacked once, when it is put on the device. The results are
 * those of the blocks; the memory is that of float32, 4 or 8 times theirs.
 */
import type { Graph, Node, PortInfo, Tensor, TensorData } from '@querent/core';
import { QuerentError, elementCount } from '@querent/core';
import { GraphCopy, add, fusedMatMul, gather } from '@querent/graph';
import { float16ToFloat32 } from './half.ts';

/** How a float32 matrix [rows, columns] comes out of parameters in blocks. */
export interface PackedMatrix {
  /** Parameters of the old graph: blocks, scales, and zero points where they are not the middle. */
  readonly data: PortInfo;
  readonly scales: PortInfo;
  readonly zeroPoints: PortInfo | undefined;
  readonly rows: number;
  readonly columns: number;
  readonly bits: number;
  readonly blockSize: number;
}

/** A graph without packed weights, and what its new parameters are made of. */
export interface UnpackedGraph {
  readonly graph: Graph;
  /** Parameter of the new graph → where it comes from. */
  readonly packed: ReadonlyMap<string, PackedMatrix>;
}

/**
 * The graph with float32 matrices for blocks; the same graph where there are none. Blocks that are fed or computed at each run stay as
 * they are, and are refused when the graph is compiled.
 *
 * @param isFrozen Is the parameter of this name given when the graph is compiled?
 */
export function unpackGraph(graph: Graph, isFrozen: (parameter: string) => boolean): UnpackedGraph {
  const frozen = new Map<string, PortInfo>([...graph.parameters.values()].filter(({ name }) => isFrozen(name)).map(({ name, dtype, shape, tensor }) => [tensor.name, { name, dtype, shape }]));
  const matrices = new Map<Node, PackedMatrix>();
  for (const node of graph.nodes) {
    const matrix = matrixOf(node, frozen);
    if (matrix !== undefined) matrices.set(node, matrix);
  }
  if (matrices.size === 0) return { graph, packed: new Map() };
  const copy = new GraphCopy(graph);
  const packed = new Map<string, PackedMatrix>();
  for (const node of graph.nodes) {
    const matrix = matrices.get(node);
    if (matrix === undefined) {
      copy.add(node);
      continue;
    }
    const name = `${matrix.data.name} as float32`;
    packed.set(name, matrix);
    const whole = copy.scope.parameter(name, [matrix.rows, matrix.columns]);
    copy.set(node.outputs[0]!, node.opType === 'MatMulNBits' ? product(node, whole, copy) : gather(whole, copy.of(node.inputs[1]!))); // matrixOf has seen them
  }
  // A parameter that no node reads may still be fed.
  for (const { tensor, name } of graph.parameters.values()) if (!isFrozen(name)) copy.of(tensor);
  return { graph: copy.finish(), packed };
}

function product({ inputs }: Node, matrix: Tensor, copy: GraphCopy): Tensor {
  const y = fusedMatMul(copy.of(inputs[0]!), matrix, { transB: true }); // matrixOf has seen it
  const bias = inputs[5] ?? null;
  return bias === null ? y : add(y, copy.of(bias));
}

/** What a node's matrix is made of; undefined for another operator, or a form that is not known. */
function matrixOf(node: Node, frozen: ReadonlyMap<string, PortInfo>): PackedMatrix | undefined {
  const int = (name: string, fallback: number): number => {
    const attribute = node.attributes[name];
    return attribute?.type === 'int' ? attribute.value : fallback;
  };
  const pieceOf = (tensor: Tensor | null | undefined): PortInfo | undefined => (tensor === null || tensor === undefined ? undefined : frozen.get(tensor.name));
  const [isProduct, isLookUp] = [node.opType === 'MatMulNBits', node.opType === 'GatherBlockQuantized'];
  if (node.domain !== 'com.microsoft' || (!isProduct && !isLookUp)) return undefined;
  const [table, scaleTensor, zeroTensor] = isProduct ? [node.inputs[1], node.inputs[2], node.inputs[3] ?? null] : [node.inputs[0], node.inputs[2], node.inputs[3] ?? null];
  const [data, scales, zeroPoints] = [pieceOf(table), pieceOf(scaleTensor), pieceOf(zeroTensor)];
  const [bits, blockSize] = [int('bits', 4), int('block_size', isProduct ? 32 : 128)];
  const isKnown = [2, 4, 8].includes(bits) && (zeroTensor === null || (zeroPoints !== undefined && zeroTensor.dtype === 'uint8')) && table?.dtype === 'uint8';
  if (data === undefined || scales === undefined || !isKnown) return undefined;
  if (isProduct) {
    if ((node.inputs[4] ?? null) !== null) return undefined; // rows in another order
    return { data, scales, zeroPoints, rows: int('N', 0), columns: int('K', 0), bits, blockSize };
  }
  const [rows, bytes] = table.shape;
  const isPlain = int('gather_axis', 0) === 0 && [1, -1].includes(int('quantize_axis', 1)) && table.shape.length === 2;
  return typeof rows === 'number' && typeof bytes === 'number' && isPlain ? { data, scales, zeroPoints, rows, columns: (bytes * 8) / bits, bits, blockSize } : undefined;
}

/**
 * The matrix as float32 [rows, columns]: (integer - zero point) × scale, block by block along a row; integers lie in bytes, the earlier low.
 *
 * @throws QuerentError QRT_CHECKPOINT_MISMATCH when the pieces have other sizes than the matrix says.
 */
export function unpackMatrix(matrix: PackedMatrix, data: TensorData, scales: TensorData, zeroPoints: TensorData | undefined): TensorData<'float32'> {
  const { rows, columns, bits, blockSize } = matrix;
  const blocks = Math.ceil(columns / blockSize);
  const [perByte, mask, middle] = [8 / bits, 2 ** bits - 1, 2 ** (bits - 1)];
  const zeroRow = Math.ceil(blocks / perByte);
  const rowBytes = elementCount(data.shape) / rows;
  if (rowBytes * perByte < columns || scales.data.length !== rows * blocks || (zeroPoints !== undefined && zeroPoints.data.length !== rows * zeroRow)) {
    throw new QuerentError('QRT_CHECKPOINT_MISMATCH', `${matrix.data.name} and its scales do not make a matrix [${rows}, ${columns}] in blocks of ${blockSize} at ${bits} bits.`);
  }
  const factors = scales.dtype === 'float16' ? float16ToFloat32(scales.data as Uint16Array) : (scales.data as Float32Array); // the dtypes that scales have
  const [bytes, zeros] = [data.data as Uint8Array, zeroPoints?.data as Uint8Array | undefined]; // matrixOf has seen that they are uint8
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const scale = factors[row * blocks + block]!;
      const zero = zeros === undefined ? middle : (zeros[row * zeroRow + Math.floor(block / perByte)]! >> ((block % perByte) * bits)) & mask;
      for (let column = block * blockSize; column < Math.min(columns, (block + 1) * blockSize); column++) {
        const integer = (bytes[row * rowBytes + Math.floor(column / perByte)]! >> ((column % perByte) * bits)) & mask;
        values[row * columns + column] = (integer - zero) * scale;
      }
    }
  }
  return { dtype: 'float32', shape: [rows, columns], data: values };
}
