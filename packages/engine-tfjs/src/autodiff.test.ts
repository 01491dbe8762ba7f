/**
 * Our gradient rules against TensorFlow.js's own. A case's forward graph is run by this engine's kernels inside `tf.grads`, so that
 * TensorFlow.js differentiates what it computes; our `grad` is run as a graph. Cases that it does not differentiate are listed:
 * they rest on central differences alone (packages/graph/src/autodiff/rules.test.ts).
 */
import '@tensorflow/tfjs';
import type { Tensor as TfTensor } from '@tensorflow/tfjs-core';
import { interpret } from '@querent/graph';
import { afterAll, describe, expect, test } from 'vitest';
import { GRADIENT_CASES, asFloat32, build } from '../../graph/test/gradient-cases.ts';
import { KERNELS } from './kernels/index.ts';
import { Value } from './values.ts';
import { createTfjsEngine } from './engine.ts';

const engine = await createTfjsEngine({ backend: 'cpu' });
const { backend } = engine.choice;
const { tf } = backend;
afterAll(() => engine[Symbol.asyncDispose]());

const TOLERANCE = 1e-4;
/**
 * Cases that TensorFlow.js does not differentiate. It has no gradient for these kernels; its minimum and maximum do not undo a broadcast,
 * its cumsum not its transposition, and its conv2d takes no dilation.
 */
const still = (ops: readonly string[]): string[] => ops.map((op) => `${op}: lets nothing through`);
const NOT_DIFFERENTIATED: readonly string[] = [
  ...still(['Equal', 'Less', 'Greater', 'LessOrEqual', 'And', 'Or', 'Xor', 'Not', 'OneHot']),
  ...['Min', 'Max'].flatMap((op) => ['broadcast both ways', 'with a scalar, and a symbolic lead', 'of a row and a column, with a compact gradient'].map((what) => `${op}: ${what}`)),
  'Conv: dilated', 'CumSum: along each axis', 'ScatterElements: replacing', 'ScatterElements: adding, some twice', 'TopK: values', 'TopK: along the first axis',
];

/** Gradients of `loss` by tf.grads, or why there are none. */
function autodiff(built: ReturnType<typeof build>): Record<string, Float32Array> | string {
  const { graph, feeds, learned } = built;
  const loss = graph.outputs.get('loss')!;
  const needed = new Set<string>();
  const visit = (name: string): void => {
    if (needed.has(name)) return;
    needed.add(name);
    const node = graph.nodes.find(({ outputs }) => outputs.some((output) => output.name === name));
    for (const input of node?.inputs ?? []) if (input !== null) visit(input.name);
  };
  visit(loss.name);
  const forward = (...xs: TfTensor[]): TfTensor => {
    const values = new Map<string, Value>();
    for (const input of graph.inputs) {
      const data = asFloat32(feeds[input.name]!);
      const tensor = xs[learned.indexOf(input.name)];
      values.set(input.name, new Value(tf, data.dtype, data.shape, tensor === undefined ? { data } : { tensor }));
    }
    for (const [name, data] of graph.constants) values.set(name, new Value(tf, data.dtype, data.shape, { data }));
    for (const node of graph.nodes.filter(({ outputs }) => outputs.some(({ name }) => needed.has(name)))) {
      const inputs = node.inputs.map((input) => (input === null ? undefined : values.get(input.name)));
      if (node.opType === 'Shape' || node.opType === 'Size') {
        const shape = inputs[0]!.shape;
        values.set(node.outputs[0]!.name, new Value(tf, 'int64', node.opType === 'Size' ? [] : [shape.length], { numbers: node.opType === 'Size' ? [shape.reduce((a, b) => a * b, 1)] : shape }));
        continue;
      }
      KERNELS[node.opType]!.run({ tf, node, inputs, readsBack: true }).forEach((tensor, i) => {
        const output = node.outputs[i];
        if (output !== undefined) values.set(output.name, new Value(tf, output.dtype, tensor.shape, { tensor }));
      });
    }
    return values.get(loss.name)!.tensor;
  };
  try {
    backend.use();
    const xs = learned.map((name) => tf.tensor(asFloat32(feeds[name]!).data as Float32Array, [...feeds[name]!.shape])); // learned inputs are floats
    const gradients = tf.grads((...given) => forward(...given).asScalar())(xs);
    return Object.fromEntries(learned.map((name, i) => [name, gradients[i]!.dataSync() as Float32Array])); // likewise
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

describe('our gradients are those of TensorFlow.js', () => {
  const skipped = new Set<string>();
  test.each(GRADIENT_CASES.map((c, index) => [`${c.op}: ${c.what}`, c, index] as const))('%s', (title, c, index) => {
    const built = build(c, 1000 + index);
    const theirs = autodiff(built);
    if (typeof theirs === 'string') {
      skipped.add(title);
      expect(NOT_DIFFERENTIATED, theirs).toContain(title);
      return;
    }
    const ours = interpret(built.graph, built.feeds, new Map(), { outputs: built.learned.map((name) => `grad/${name}`) });
    for (const name of built.learned) {
      const { data } = ours.get(`grad/${name}`)!;
      const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
      data.forEach((value, i) => expect(Math.abs(theirs[name]![i]! - value) / largest, `${name}[${i}]: theirs ${theirs[name]![i]}, ours ${value}`).toBeLessThanOrEqual(TOLERANCE));
    }
  });

  test('and the cases that it does not differentiate are those that are listed', () => {
    expect([...skipped].sort()).toEqual([...NOT_DIFFERENTIATED].sort());
  });
});
