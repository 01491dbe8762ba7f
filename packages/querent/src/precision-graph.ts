/**
 * A model's graph over weights that are held in fewer bits: a copy in which every product with such a weight, and every look-up in such a
 * table, is the operator that reads them (com.microsoft's MatMulNBits, DynamicQuantizeMatMul and GatherBlockQuantized; a Cast for halves).
 * Models are built once, in float32, and know nothing of it. Which weight is held how is decided in `precision.ts` and, for an encoder's
 * 8-bit activations, in `encoder-precision.ts`.
 */
import type { Graph, GraphScope, Node, Tensor } from '@querent/core';
import {
  GraphCopy, add, cast, concat, div, dynamicQuantizeMatMul, fusedMatMul, builderOf, gather, gemm, int, mul, op1, printShape, reduceSum, reshape, split, sub,
} from '@querent/graph';
import type { WeightGroup } from './precision-groups.ts';
import { unflattened } from './precision-groups.ts';

/** A matrix in blocks of small integers. */
export interface BlockForm {
  readonly kind: 'blocks';
  readonly bits: 4 | 8;
  readonly blockSize: number;
  /** Out and in features: rows and columns of what is stored, whatever the checkpoint's order. */
  readonly rows: number;
  readonly columns: number;
  readonly hasZeroPoints: boolean;
  /** Is there a number to add to each block (GGUF's minima)? */
  readonly hasOffsets: boolean;
}

/** A weight as 16-bit floats, widened where it is used. */
export interface HalfForm {
  readonly kind: 'half';
  readonly dtype: 'float16' | 'bfloat16';
  readonly shape: readonly number[];
}

/** 8-bit integers with a scale for each out feature, multiplied with inputs that are quantised to 8 bits as they come. */
export interface IntegerForm {
  readonly kind: 'integers';
  /** Out and in features. */
  readonly rows: number;
  readonly columns: number;
}

export type WeightForm = BlockForm | HalfForm | IntegerForm;

/** Weights by the names that graphs give them. */
export interface WeightForms {
  /** Right operands of products. */
  readonly products: ReadonlyMap<string, WeightForm>;
  /** Tables that rows are picked from. */
  readonly tables: ReadonlyMap<string, BlockForm | HalfForm>;
  /** Products that are made as one, by the name of each member's weight. */
  readonly groups?: ReadonlyMap<string, WeightGroup>;
  /**
   * Products that are also made in integers, to see what that changes: outputs `error.NAME`, the sum of squared differences over that of
   * squares, float32 [1].
   */
  readonly probes?: ReadonlyMap<string, IntegerForm>;
}

/** What follows a weight's name in the names of its stored pieces. */
export const PIECES = { blocks: '.blocks', scales: '.scales', zeroPoints: '.zero_points', offsets: '.offsets', half: '.half', rows: '.rows', rowScales: '.row_scales', integers: '.integers', columnScales: '.column_scales' } as const;

/** MatMulNBits' int8 activations: four times the speed of float32 ones, with an error below that of the weights. */
const INT8_ACTIVATIONS = 4;

export function isProduct(node: Node): boolean {
  return node.opType === 'Gemm' && node.attributes['alpha'] === undefined && node.attributes['beta'] === undefined && !isSet(node, 'transA');
}

/** The graph again, with the weights of `forms` in their forms. */
export function rewriteGraph(graph: Graph, forms: WeightForms): Graph {
  return new Rewriting(graph, forms).result();
}

class Rewriting {
  readonly #from: Graph;
  readonly #copy: GraphCopy;
  readonly #g: GraphScope;
  readonly #forms: WeightForms;
  /** Products of more axes than two, whose flat form nobody has asked for yet: name in the old graph → the product. */
  readonly #unflattened: Map<string, Tensor> = new Map();
  readonly #blockSums: Map<string, Tensor> = new Map();

  constructor(graph: Graph, forms: WeightForms) {
    this.#from = graph;
    this.#copy = new GraphCopy(graph);
    this.#g = this.#copy.scope;
    this.#forms = forms;
  }

  result(): Graph {
    // onnxruntime goes backwards from the outputs, through a node's later inputs first: widened in front of everything else, each weight is
    // widened just before its product. Where the product stands, all of them would be at the start of a run, and held until then.
    for (const node of this.#from.nodes) if (isProduct(node)) this.#widened(node.inputs[1]!.name);
    for (const node of this.#from.nodes) {
      this.#add(node);
      this.#probe(node);
    }
    for (const tensor of this.#from.outputs.values()) this.#of(tensor);
    return this.#copy.finish();
  }

  #of(tensor: Tensor): Tensor {
    const product = this.#copy.has(tensor) ? undefined : this.#unflattened.get(tensor.name);
    if (product !== undefined) this.#copy.set(tensor, reshape(product, tensor.shape.length === 2 ? [-1, tensor.shape[1]!] : tensor.shape));
    return this.#copy.of(tensor);
  }

  /** A half in 32 bits; undefined for a weight that is none. */
  #widened(name: string): Tensor | undefined {
    const form = this.#forms.products.get(name);
    if (form?.kind !== 'half') return undefined;
    const key = name + PIECES.half;
    return builderOf(this.#g).once(`widened:${key}`, () => cast(this.#g.parameter(key, form.shape, { dtype: form.dtype }), 'float32'));
  }

  #add(node: Node): void {
    const [first = null, second = null] = node.inputs;
    if (isProduct(node) && first !== null && second !== null) {
      const form = this.#forms.products.get(second.name);
      if (form !== undefined) return this.#product(node, first, second.name, form);
    }
    if (node.opType === 'Gather' && first !== null && second !== null) {
      const form = this.#forms.tables.get(first.name);
      if (form !== undefined) return this.#copy.set(node.outputs[0]!, this.#lookUp(first.name, form, this.#of(second)));
    }
    const product = node.opType === 'Reshape' && first !== null ? this.#unflattened.get(first.name) : undefined;
    if (product !== undefined && printShape(product.shape) === printShape(node.outputs[0]!.shape)) return this.#copy.set(node.outputs[0]!, product);
    for (const input of node.inputs) if (input !== null) this.#of(input); // products that are asked for flat
    this.#copy.add(node);
  }

  #product(node: Node, input: Tensor, name: string, form: WeightForm): void {
    const output = node.outputs[0]!;
    const bias = node.inputs[2] ?? null;
    if (form.kind === 'half') {
      const weight = this.#widened(name)!; // it is a half
      this.#copy.set(output, gemm(this.#of(input), weight, bias === null ? null : this.#of(bias), { transB: isSet(node, 'transB') }));
      return;
    }
    // Flattened only to be multiplied: the operator takes all axes.
    const x = this.#of(unflattened(this.#from, input));
    const group = this.#forms.groups?.get(name);
    if (group !== undefined) return this.#groupProduct(x, group);
    this.#note(output, form.kind === 'integers' ? this.#integerProduct(x, name, form, bias) : this.#blockProduct(x, name, form, bias === null ? null : this.#of(bias)));
  }

  #note(output: Tensor, product: Tensor): void {
    if (product.shape.length === 2) this.#copy.set(output, product);
    else this.#unflattened.set(output.name, product);
  }

  /** All products of a group at once, when the first of them comes. */
  #groupProduct(x: Tensor, { name, members, rows, form }: WeightGroup): void {
    const nodes = members.map((member) => this.#from.nodes.find((node) => isProduct(node) && node.inputs[1]?.name === member)!); // groupsOf has seen them here
    if (nodes.some(({ outputs }) => this.#copy.has(outputs[0]!) || this.#unflattened.has(outputs[0]!.name))) return;
    const biases = nodes.flatMap(({ inputs }) => (inputs[2] === null || inputs[2] === undefined ? [] : [this.#of(inputs[2])]));
    const product = this.#blockProduct(x, name, form, biases.length === 0 ? null : concat(biases, 0));
    const parts = split(product, product.shape.length - 1, rows);
    nodes.forEach(({ outputs }, i) => this.#note(outputs[0]!, parts[i]!));
  }

  /** See {@link WeightForms.probes}. */
  #probe(node: Node): void {
    const [input = null, weight = null, bias = null] = node.inputs;
    const form = weight === null || !isProduct(node) ? undefined : this.#forms.probes?.get(weight.name);
    if (form === undefined || input === null || weight === null) return;
    const exact = this.#of(node.outputs[0]!);
    const off = sub(this.#integerProduct(this.#of(input), weight.name, form, bias), exact);
    const squares = (x: Tensor): Tensor => reduceSum(reshape(mul(x, x), [-1]), [0], true);
    this.#g.output(`error.${weight.name}`, div(squares(off), squares(exact)));
  }

  /** @param bias of the new graph */
  #blockProduct(x: Tensor, name: string, form: BlockForm, bias: Tensor | null): Tensor {
    const { bits, blockSize, rows, columns } = form;
    const blocks = Math.ceil(columns / blockSize);
    const piece = (kind: keyof typeof PIECES, shape: readonly number[], dtype: 'uint8' | 'float32'): Tensor => this.#g.parameter(name + PIECES[kind], shape, { dtype });
    const product = op1(
      'MatMulNBits',
      [
        x,
        piece('blocks', [rows, blocks, (blockSize * bits) / 8], 'uint8'),
        piece('scales', [rows, blocks], 'float32'),
        form.hasZeroPoints ? piece('zeroPoints', [rows, Math.ceil((blocks * bits) / 8)], 'uint8') : null,
        null,
        bias,
      ],
      {
        domain: 'com.microsoft',
        attributes: { K: int(columns), N: int(rows), bits: int(bits), block_size: int(blockSize), accuracy_level: int(INT8_ACTIVATIONS) },
        outputs: [{ dtype: 'float32', shape: [...x.shape.slice(0, -1), rows] }],
      },
    );
    if (!form.hasOffsets) return product;
    const offsets = piece('offsets', [rows, blocks], 'float32');
    return add(product, fusedMatMul(this.#sums(x, blocks, blockSize), offsets, { transB: true }));
  }

  #integerProduct(x: Tensor, name: string, { rows, columns }: IntegerForm, bias: Tensor | null): Tensor {
    const weight = this.#g.parameter(name + PIECES.integers, [columns, rows], { dtype: 'int8' });
    return dynamicQuantizeMatMul(x, weight, this.#g.parameter(name + PIECES.columnScales, [rows]), bias === null ? null : this.#of(bias));
  }

  /** Σ x over each block [..., blocks]: what an offset is multiplied with. Made once for all products of `x`. */
  #sums(x: Tensor, blocks: number, blockSize: number): Tensor {
    const key = `${x.name}/${blockSize}`;
    const known = this.#blockSums.get(key);
    if (known !== undefined) return known;
    const sums = reduceSum(reshape(x, [...x.shape.slice(0, -1), blocks, blockSize]), [-1], false);
    this.#blockSums.set(key, sums);
    return sums;
  }

  #lookUp(name: string, form: BlockForm | HalfForm, ids: Tensor): Tensor {
    if (form.kind === 'half') return cast(gather(this.#g.parameter(name + PIECES.half, form.shape, { dtype: form.dtype }), ids), 'float32');
    const { rows, columns, blockSize, bits } = form;
    const data = this.#g.parameter(name + PIECES.rows, [rows, (columns * bits) / 8], { dtype: 'uint8' });
    const scales = this.#g.parameter(name + PIECES.rowScales, [rows, columns / blockSize], { dtype: 'float32' });
    return op1('GatherBlockQuantized', [data, ids, scales], {
      domain: 'com.microsoft',
      attributes: { gather_axis: int(0), quantize_axis: int(1), block_size: int(blockSize), bits: int(bits) },
      outputs: [{ dtype: 'float32', shape: [...ids.shape, columns] }],
    });
  }
}

function isSet(node: Node, name: string): boolean {
  const attribute = node.attributes[name];
  return attribute?.type === 'int' && attribute.value === 1;
}
