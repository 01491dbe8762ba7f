import { expect, it } from 'vitest';
import { GraphCopy } from './copy.ts';
import { createGraph } from './graph.ts';
import { add, mul, relu } from './ops/elementwise.ts';
import { printGraph } from './print.ts';

function example(): ReturnType<typeof createGraph> {
  const g = createGraph('example');
  const x = g.input('x', 'float32', ['batch', 2]);
  const y = relu(add(mul(x, g.scope('layer').parameter('weight', [2])), 3));
  g.parameter('unread', [4]);
  g.output('y', y);
  g.output('x again', x);
  return g;
}

it('copies nodes, inputs, constants, parameters and outputs, but no parameter that nobody reads', () => {
  const { graph } = example();
  const copy = new GraphCopy(graph);
  for (const node of graph.nodes) copy.add(node);
  const again = copy.finish();
  expect(printGraph(again).replace(/\s+/g, ' ')).toBe(printGraph(withoutUnread()).replace(/\s+/g, ' '));
  expect([...again.parameters.keys()]).toEqual(['layer.weight']);
  expect([...again.outputs.keys()]).toEqual(['y', 'x again']);
  expect(again.nodes[0]!.inputs[0]!.graph).toBe(again);
});

it('lets its maker put something else for a tensor', () => {
  const { graph } = example();
  const copy = new GraphCopy(graph);
  for (const node of graph.nodes) {
    if (node.opType === 'Relu') copy.set(node.outputs[0]!, copy.of(node.inputs[0]!));
    else copy.add(node);
  }
  expect(copy.has(graph.outputs.get('y')!)).toBe(true);
  expect(copy.finish().nodes.map(({ opType }) => opType)).toEqual(['Mul', 'Add']);
});

function withoutUnread(): ReturnType<typeof createGraph>['graph'] {
  const { graph } = example();
  (graph.parameters as Map<string, unknown>).delete('unread'); // read-only for others; this graph is the test's own
  return graph;
}
