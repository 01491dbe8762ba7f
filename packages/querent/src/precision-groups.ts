/**
 * Products of one input as one product: queries, keys and values, or a gate and what it gates, whose weights are held in blocks. Rows of the
 * weights lie below each other in the cache, so that a decoding step reads one large matrix where it read three small ones. Which weights
 * are held in blocks is decided in `precision.ts`; the product and the Split behind it are made in `precision-graph.ts`.
 */
import type { Graph, Node, Tensor } from '@querent/core';
import type { BlockForm, WeightForm } from './precision-graph.ts';
import { isProduct } from './precision-graph.ts';

/** Weights whose blocks lie below each other. */
export interface WeightGroup {
  /** What the pieces are called before their suffix. */
  readonly name: string;
  /** In the order of their rows. */
  readonly members: readonly string[];
  /** Rows of each. */
  readonly rows: readonly number[];
  /** Of all of them together. */
  readonly form: BlockForm;
}

/**
 * The groups that all `graphs` agree on, by the name of each member: its products stand beside the same others everywhere.
 *
 * @param forms how weights are held; only blocks are put together
 */
export function groupsOf(graphs: readonly Graph[], forms: ReadonlyMap<string, WeightForm>): ReadonlyMap<string, WeightGroup> {
  const company = new Map<string, Set<string>>(); // member → every group that it was seen in
  const candidates = new Map<string, readonly string[]>();
  for (const graph of graphs) {
    for (const members of companyIn(graph, forms).values()) {
      const key = members.join('+');
      candidates.set(key, members);
      for (const member of members) company.set(member, (company.get(member) ?? new Set()).add(key));
    }
  }
  const groups = new Map<string, WeightGroup>();
  for (const [name, members] of candidates) {
    if (members.length < 2 || new Set(members).size < members.length || !members.every((member) => company.get(member)?.size === 1)) continue;
    const parts = members.map((member) => forms.get(member) as BlockForm); // companyIn has looked
    const rows = parts.map((part) => part.rows);
    const group: WeightGroup = { name, members, rows, form: { ...parts[0]!, rows: rows.reduce((a, b) => a + b, 0) } };
    for (const member of members) groups.set(member, group);
  }
  return groups;
}

/** Weights of one graph by what they are multiplied with and how they are held, in the order of their products. */
function companyIn(graph: Graph, forms: ReadonlyMap<string, WeightForm>): ReadonlyMap<string, readonly string[]> {
  const together = new Map<string, string[]>();
  for (const node of graph.nodes) {
    const [input = null, weight = null, bias = null] = node.inputs;
    const form = weight === null || !isProduct(node) ? undefined : forms.get(weight.name);
    if (form?.kind !== 'blocks' || input === null || weight === null) continue;
    const { rows: _rows, kind: _kind, ...alike } = form;
    const isPlain = bias === null || graph.parameters.has(bias.name);
    const key = JSON.stringify([unflattened(graph, input).name, alike, bias !== null, isPlain ? '' : node.name]);
    together.set(key, [...(together.get(key) ?? []), weight.name]);
  }
  return together;
}

/** What was flattened for a product. */
export function unflattened(graph: Graph, input: Tensor): Tensor {
  const maker: Node | undefined = graph.producer(input);
  const whole = maker?.opType === 'Reshape' ? maker.inputs[0] : undefined;
  return whole !== null && whole !== undefined && whole.shape.at(-1) === input.shape.at(-1) ? whole : input;
}
