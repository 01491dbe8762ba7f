/**
 * Losses of plugins in stages 1 and 2: a recipe names them (`"objectives": [{ "name", "weight" }]`), their weighted sum joins the stage's
 * own loss. What noise they ask for is fed anew at each step. What a plugin promises is core's `contracts/objective.ts`.
 */
import type { Dim, GraphScope, JsonSchema, ObjectiveInputs, ObjectivePlugin, Tensor, TensorData } from '@querent/core';
import { QuerentError, elementCount, validate } from '@querent/core';
import { add, dimTerms, mul } from '@querent/graph';
import type { Random } from '@querent/images';
import { evaluateDim } from '../dropout.ts';

/** One entry of a recipe's `objectives`. */
export interface ObjectiveChoice {
  readonly name: string;
  readonly weight: number;
  readonly config?: Readonly<Record<string, unknown>>;
}

/** JSON Schema of a recipe's `objectives`. */
export const objectivesSchema: JsonSchema = {
  type: 'array',
  description: 'Losses of plugins, added to the stage’s own.',
  items: {
    type: 'object',
    properties: {
      name: { type: 'string', minLength: 1, description: 'The objective’s name.' },
      weight: { type: 'number', exclusiveMinimum: 0, description: 'What its loss is multiplied by.' },
      config: { type: 'object', description: 'Its own options.' },
    },
    required: ['name', 'weight'],
    additionalProperties: false,
  },
};

/** An objective with what the recipe says of it. */
export interface ChosenObjective extends ObjectiveChoice {
  readonly plugin: ObjectivePlugin;
}

/**
 * Finds the objectives and checks their configs.
 *
 * @throws QuerentError QRT_PLUGIN_UNKNOWN, QRT_CONFIG_INVALID.
 */
export function chooseObjectives(choices: readonly ObjectiveChoice[] = [], find: ((name: string) => ObjectivePlugin) | undefined): ChosenObjective[] {
  return choices.map((choice, i) => {
    if (find === undefined) throw new QuerentError('QRT_USAGE', `The recipe names the objective ${JSON.stringify(choice.name)}, and no objectives were handed over.`, { fix: 'Pass plugins.objective; `querent train` does.' });
    const plugin = find(choice.name);
    if (plugin.configSchema !== undefined) validate(plugin.configSchema, choice.config ?? {}, { what: `the config of objective ${choice.name}`, at: `/objectives/${i}/config` });
    return { ...choice, plugin };
  });
}

export interface AddedObjectives {
  /** The given losses with each objective's as `loss_NAME`, `loss` being the weighted sum of all. */
  readonly losses: { readonly loss: Tensor } & Readonly<Record<string, Tensor>>;
  /** What the objectives' noise is at a step. */
  noise(sizes: Readonly<Record<string, number>>, random: Random): Record<string, TensorData<'float32'>>;
}

/** Adds the objectives to a stage's graph. */
export function addObjectives(
  g: GraphScope,
  own: { readonly loss: Tensor } & Readonly<Record<string, Tensor>>,
  chosen: readonly ChosenObjective[],
  inputs: Omit<ObjectiveInputs, 'noise'>,
): AddedObjectives {
  const asked: { readonly input: string; readonly shape: readonly Dim[]; readonly distribution: 'uniform' | 'gumbel' | 'normal' }[] = [];
  const losses: Record<string, Tensor> & { loss: Tensor } = { ...own };
  for (const [i, { name, weight, plugin, config = {} }] of chosen.entries()) {
    const noise: ObjectiveInputs['noise'] = (noiseName, shape, distribution) => {
      const input = `noise_${i}_${noiseName}`;
      asked.push({ input, shape, distribution });
      return g.input(input, 'float32', shape);
    };
    const { loss, metrics = {} } = plugin.build(g, { ...inputs, noise }, config);
    if (loss.shape.length > 0) throw new QuerentError('QRT_PLUGIN_INVALID', `The loss of the objective ${name} is [${loss.shape.join(', ')}], expected one number.`, { fix: 'Take the mean over the batch.' });
    const shown = `loss_${name.replace(/\W/g, '_')}`;
    if (shown in losses) throw new QuerentError('QRT_CONFIG_INVALID', `The objective ${name} is named twice, or is called like a loss of the stage.`, { fix: 'Name each once.' });
    losses[shown] = loss;
    for (const [metric, value] of Object.entries(metrics)) losses[`${shown}_${metric}`] = value;
    losses.loss = add(losses.loss, mul(loss, weight));
  }
  return {
    losses,
    noise: (sizes, random) =>
      Object.fromEntries(
        asked.map(({ input, shape, distribution }) => {
          const known = shape.map((dim) => evaluateDim(dimTerms(dim), sizes));
          const data = Float32Array.from({ length: elementCount(known) }, () => draw(distribution, random));
          return [input, { dtype: 'float32', shape: known, data }] as const;
        }),
      ),
  };
}

function draw(distribution: 'uniform' | 'gumbel' | 'normal', random: Random): number {
  if (distribution === 'normal') return random.normal();
  const uniform = random.next();
  return distribution === 'uniform' ? uniform : -Math.log(-Math.log(Math.max(uniform, 1e-12)) + 1e-12);
}

/** Does a node of the graph read this input? What nothing reads is not fed. */
export function isRead(g: GraphScope, input: string): boolean {
  return g.graph.nodes.some(({ inputs }) => inputs.some((tensor) => tensor?.name === input));
}
