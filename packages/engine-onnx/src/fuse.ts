/**
 * A decoding graph in onnxruntime's own larger operators, before it becomes a session: a step over one token is so small that what each
 * operator costs by itself is most of it.
 *
 *     attention over a cache that is written into     com.microsoft GroupQueryAttention, heads side by side as products give them
 *     rotation of queries and keys before it          RotaryEmbedding
 *     the sum of a residual and the norm after it     SkipSimplifiedLayerNormalization, SkipLayerNormalization
 *
 * Models know nothing of it: patterns are those of `attend`, `rotate` and `writeCache` (llm-adapters). What does not fit one stays as
 * it is, and nodes that nobody asks for any more are not written. For the CPU: other providers have other operators.
 */
import type { Dim, Graph, Node, Shape, Tensor } from '@querent/core';
import { GraphCopy, add, builderOf, cast, dimOf, float, int, multiplyDims, op, op1, printShape, reshape, subtractDims, transpose } from '@querent/graph';

/** Widths of heads that GroupQueryAttention takes are multiples of this. */
const HEAD_STEP = 8;

/** The graph again, in larger operators where they fit; the same graph where none does. */
export function fuseGraph(graph: Graph): Graph {
  const attentions = attentionsOf(graph);
  if (attentions.size === 0) return graph;
  const copy = new GraphCopy(graph);
  for (const node of graph.nodes) {
    const attention = attentions.get(node.outputs[0]!.name);
    if (attention === undefined) {
      if (!addWithNorm(node, copy)) copy.add(node);
      continue;
    }
    const [mixed, key, value] = groupQueryAttention(attention, (tensor) => copy.of(tensor));
    copy.set(node.outputs[0]!, mixed!);
    copy.set(attention.key.output, key!);
    copy.set(attention.value.output, value!);
  }
  return copy.finish();
}

/** What norms are called when they also add: by whether they centre. */
const SKIP_NORMS: ReadonlyMap<string, string> = new Map([
  ['RMSNormalization', 'SkipSimplifiedLayerNormalization'],
  ['LayerNormalization', 'SkipLayerNormalization'],
]);

/**
 * A norm over the last axis of a sum [batch, tokens, hidden], with the sum as its fourth output: whoever comes later reads it from there.
 *
 * @returns false for anything else, which is not copied then
 */
function addWithNorm(node: Node, copy: GraphCopy): boolean {
  const opType = SKIP_NORMS.get(node.opType);
  const [x, scale, bias] = node.inputs;
  if (opType === undefined || node.domain !== '' || numberOf(node, 'axis', -1) !== -1 || x === null || x === undefined || x.shape.length !== 3) return false;
  const builder = builderOf(copy.scope);
  const sum = made('Add', builder.producer(copy.of(x)));
  if (sum === undefined || !sum.inputs.every((term) => term !== null && printShape(term.shape) === printShape(x.shape))) return false;
  const aside: Shape = [...x.shape.slice(0, -1), 1];
  const weights = [scale!, ...(bias === null || bias === undefined ? [] : [bias])].map((tensor) => copy.of(tensor));
  const outputs = builder.addNode(opType, 'com.microsoft', [...sum.inputs, ...weights], { epsilon: float(numberOf(node, 'epsilon', 1e-5)) }, [
    { dtype: x.dtype, shape: x.shape },
    { dtype: x.dtype, shape: aside },
    { dtype: x.dtype, shape: aside },
    { dtype: x.dtype, shape: x.shape },
  ]);
  node.outputs.forEach((output, i) => copy.set(output, outputs[i]!));
  copy.set(x, outputs[3]!);
  return true;
}

/** A cache and the new tokens that are written into it. */
interface Write {
  readonly past: Tensor;
  /** [batch, heads, tokens, headWidth] */
  readonly update: Tensor;
  readonly writeIndices: Tensor;
  /** The cache with the update in it. */
  readonly output: Tensor;
}

interface Attention {
  /** [batch, heads, tokens, headWidth] */
  readonly query: Tensor;
  readonly key: Write;
  readonly value: Write;
  /** Additive, [batch or 1, heads or 1, tokens, cache]. */
  readonly mask: Tensor;
  readonly scale: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly headWidth: number;
  readonly tokens: Dim;
  readonly cache: Dim;
}

/** By the name of what comes out: heads side by side again. */
function attentionsOf(graph: Graph): ReadonlyMap<string, Attention> {
  const readers = new Map<string, number>();
  for (const node of graph.nodes) for (const input of node.inputs) if (input !== null) readers.set(input.name, (readers.get(input.name) ?? 0) + 1);
  const found = new Map<string, Attention>();
  for (const node of graph.nodes) {
    const attention = matchAttention(graph, node);
    if (attention === undefined) continue;
    // A cache that somebody else reads would have to be there before this.
    const isAlone = [attention.key, attention.value].every(({ output }) => readers.get(output.name) === 1);
    if (isAlone) found.set(node.outputs[0]!.name, attention);
  }
  return found;
}

/** Is this the Reshape that ends `mergeHeads(attend(q, cache, cache))`? */
function matchAttention(graph: Graph, node: Node): Attention | undefined {
  const turned = made('Reshape', node) && made('Transpose', graph.producer(node.inputs[0]!));
  if (turned === undefined || !isPermutation(turned, [0, 2, 1, 3])) return undefined;
  const merged = node.outputs[0]!;
  const mixed = turned.inputs[0]!;
  const products = made('FusedMatMul', graph.producer(flat(graph, mixed)));
  if (products === undefined || numberOf(products, 'alpha', 1) !== 1 || numberOf(products, 'transB', 0) !== 0) return undefined;
  const value = matchWrite(graph, products.inputs[1]!);
  const softmax = made('Softmax', graph.producer(flat(graph, products.inputs[0]!)));
  const masked = softmax && made('Add', graph.producer(softmax.inputs[0]!));
  const scores = masked && made('FusedMatMul', graph.producer(flat(graph, masked.inputs[0]!)));
  if (value === undefined || masked === undefined || scores === undefined || numberOf(scores, 'transB', 0) !== 1) return undefined;
  const key = matchWrite(graph, scores.inputs[1]!);
  if (key === undefined || key.writeIndices.name !== value.writeIndices.name) return undefined;
  const query = flat(graph, scores.inputs[0]!);
  const mask = masked.inputs[1]!;
  const [, heads, tokens, headWidth] = query.shape;
  const [, keyHeads, cache, keyWidth] = key.past.shape;
  const isSized = typeof heads === 'number' && typeof keyHeads === 'number' && typeof headWidth === 'number' && headWidth % HEAD_STEP === 0;
  if (!isSized || query.shape.length !== 4 || keyWidth !== headWidth || heads % keyHeads !== 0 || merged.shape.length !== 3) return undefined;
  if (printShape(value.past.shape) !== printShape(key.past.shape) || printShape(mixed.shape) !== printShape(query.shape)) return undefined;
  if (mask.shape.length !== 4 || mask.shape[2] !== tokens || mask.shape[3] !== cache || (mask.shape[1] !== 1 && mask.shape[1] !== heads)) return undefined;
  return { query, key, value, mask, scale: numberOf(scores, 'alpha', 1), heads, keyHeads, headWidth, tokens: tokens!, cache: cache! };
}

function matchWrite(graph: Graph, tensor: Tensor): Write | undefined {
  const node = made('TensorScatter', graph.producer(tensor));
  const [past, update, writeIndices] = node?.inputs ?? [];
  if (node === undefined || past === null || past === undefined || update === null || update === undefined || writeIndices === null || writeIndices === undefined) return undefined;
  return { past, update, writeIndices, output: node.outputs[0]! };
}

/** Mixed values [batch, tokens, heads * headWidth], and both caches. */
function groupQueryAttention(attention: Attention, of: (tensor: Tensor) => Tensor): Tensor[] {
  const { query, key, value, mask, heads, keyHeads, headWidth, tokens, cache } = attention;
  const writeIndices = of(key.writeIndices);
  const builder = builderOf(writeIndices);
  const last = builder.once(`last-slots:${writeIndices.name}/${printShape([tokens])}`, () => cast(add(writeIndices, dimOf(writeIndices, subtractDims(tokens, 1))), 'int32')); // [batch]
  const slots = builder.once(`slots:${printShape([cache])}`, () => cast(dimOf(writeIndices, cache), 'int32'));
  const batch = query.shape[0]!;
  const past = key.past.shape;
  return op(
    'GroupQueryAttention',
    [
      flatHeads(query, heads, of),
      flatHeads(key.update, keyHeads, of),
      flatHeads(value.update, keyHeads, of),
      of(key.past),
      of(value.past),
      last,
      slots,
      null,
      null,
      null,
      of(mask),
    ],
    {
      domain: 'com.microsoft',
      attributes: { num_heads: int(heads), kv_num_heads: int(keyHeads), scale: float(attention.scale) },
      outputs: [
        { dtype: 'float32', shape: [batch, tokens, heads * headWidth] },
        { dtype: 'float32', shape: past },
        { dtype: 'float32', shape: past },
      ],
    },
  );
}

/** [batch, heads, tokens, headWidth] as [batch, tokens, heads * headWidth]: mostly what it was made of. */
function flatHeads(tensor: Tensor, heads: number, of: (tensor: Tensor) => Tensor): Tensor {
  const graph = tensor.graph;
  const [batch, , tokens, width] = tensor.shape as readonly [Dim, Dim, Dim, Dim]; // four axes
  const shape: Shape = [batch, tokens, multiplyDims(heads, width)];
  const rotation = matchRotation(graph, tensor);
  if (rotation !== undefined) {
    const cosines = halves(rotation.cosines, of);
    return op1('RotaryEmbedding', [flatHeads(rotation.x, heads, of), cosines, halves(rotation.sines, of)], {
      attributes: { num_heads: int(heads), ...(rotation.isPartial ? { rotary_embedding_dim: int(2 * Number(cosines.shape[2])) } : {}) },
      outputs: [{ dtype: 'float32', shape }],
    });
  }
  const turned = made('Transpose', graph.producer(tensor));
  const source = turned !== undefined && isPermutation(turned, [0, 2, 1, 3]) ? graph.producer(turned.inputs[0]!)?.inputs[0] : undefined;
  if (source !== null && source !== undefined && printShape(source.shape) === printShape(shape)) return of(source);
  return reshape(transpose(of(tensor), [0, 2, 1, 3]), shape);
}

/** Cosines or sines [batch, 1, tokens, half] without the axis of heads. */
function halves(table: Tensor, of: (tensor: Tensor) => Tensor): Tensor {
  const [batch, , tokens, half] = table.shape as readonly [Dim, Dim, Dim, Dim]; // matchRotation has looked
  const copy = of(table);
  return builderOf(copy).once(`halves:${copy.name}`, () => reshape(copy, [batch, tokens, half]));
}

interface Rotated {
  readonly x: Tensor;
  readonly cosines: Tensor;
  readonly sines: Tensor;
  /** Are there channels that are not rotated? */
  readonly isPartial: boolean;
}

/** `[a cos − b sin ; b cos + a sin ; rest]` of `x = [a ; b ; rest]`. */
function matchRotation(graph: Graph, tensor: Tensor): Rotated | undefined {
  const [first, second, ...rest] = made('Concat', graph.producer(tensor))?.inputs ?? [];
  const [minus, plus] = [made('Sub', producerOf(graph, first)), made('Add', producerOf(graph, second))];
  const [ac, bs, bc, as] = [...(minus?.inputs ?? []), ...(plus?.inputs ?? [])].map((input) => made('Mul', producerOf(graph, input)));
  if (ac === undefined || bs === undefined || bc === undefined || as === undefined) return undefined;
  const [a, cosines] = ac.inputs;
  const [b, sines] = bs.inputs;
  const splitting = made('Split', producerOf(graph, a));
  if (splitting === undefined || a === null || a === undefined || cosines === null || cosines === undefined || sines === null || sines === undefined) return undefined;
  const isSame = (node: Node, one: Tensor | null | undefined, other: Tensor): boolean => node.inputs[0]?.name === one?.name && node.inputs[1]?.name === other.name;
  const isWhole = [a, b, ...rest].every((part, i) => part?.name === splitting.outputs[i]?.name) && splitting.outputs.length === 2 + rest.length;
  const isTable = cosines.shape.length === 4 && cosines.shape[1] === 1 && printShape(cosines.shape) === printShape(sines.shape);
  if (!isWhole || !isTable || !isSame(bc, b, cosines) || !isSame(as, a, sines)) return undefined;
  return { x: splitting.inputs[0]!, cosines, sines, isPartial: rest.length > 0 };
}

function producerOf(graph: Graph, tensor: Tensor | null | undefined): Node | undefined {
  return tensor === null || tensor === undefined ? undefined : graph.producer(tensor);
}

/** The node, if it is such an operator. */
function made(opType: string, node: Node | undefined): Node | undefined {
  return node?.opType === opType ? node : undefined;
}

/** What a Reshape was made of. */
function flat(graph: Graph, tensor: Tensor): Tensor {
  const node = graph.producer(tensor);
  return node?.opType === 'Reshape' ? flat(graph, node.inputs[0]!) : tensor;
}

function isPermutation({ attributes }: Node, axes: readonly number[]): boolean {
  const perm = attributes['perm'];
  return perm?.type === 'ints' && perm.value.join() === axes.join();
}

function numberOf({ attributes }: Node, name: string, fallback: number): number {
  const attribute = attributes[name];
  return attribute?.type === 'int' || attribute?.type === 'float' ? attribute.value : fallback;
}
