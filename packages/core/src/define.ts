/**
 * `defineX` makes a plugin of an ordinary object: it adds `kind` and the contract's version where they are not written out,
 * and is the identity otherwise. It exists for its types. A plugin package's default export is what one of these returns.
 */
import type { BridgeConfig, BridgePlugin } from './contracts/bridge.ts';
import type { DatasetPlugin } from './contracts/dataset.ts';
import type { EncoderConfig, EncoderPlugin } from './contracts/encoder.ts';
import type { EnginePlugin } from './contracts/engine-plugin.ts';
import type { LanguageModelPlugin } from './contracts/language-model.ts';
import type { MetricPlugin } from './contracts/metric.ts';
import type { ObjectivePlugin } from './contracts/objective.ts';
import type { JsonSchema, PluginBase, PluginKind } from './contracts/plugin.ts';
import type { StorePlugin } from './contracts/store.ts';
import type { TaskContext, TaskDelta, TaskPlugin } from './contracts/task.ts';
import type { SchemaType } from './schema-type.ts';

/** A plugin as it is written: `kind` and `contract` may be left out; every kind may have a description and a `dispose`. */
export type Definition<P extends { readonly kind: PluginKind; readonly contract: 1 }> = Omit<P, 'kind' | 'contract'> &
  Partial<Pick<P, 'kind' | 'contract'>> &
  Pick<PluginBase, 'description' | 'dispose'>;

/** What `define` gives back. */
type Defined<P> = P & Pick<PluginBase, 'description' | 'dispose'>;

function define<Kind extends PluginKind, D extends object>(kind: Kind, definition: D): D & { kind: Kind; contract: 1 } {
  return { kind, contract: 1, ...definition } as D & { kind: Kind; contract: 1 }; // D may repeat the two, with the same types
}

/** An engine: compiles and runs graphs. */
export function defineEngine(engine: Definition<EnginePlugin>): Defined<EnginePlugin> {
  return define('engine', engine);
}

/** An image encoder: pixels → [batch, patches, width]. */
export function defineEncoder<Config extends EncoderConfig>(encoder: Definition<EncoderPlugin<Config>>): Defined<EncoderPlugin<Config>> {
  return define('encoder', encoder);
}

/** A bridge: features (+ text) → [batch, queries, width]. */
export function defineBridge<Config extends BridgeConfig>(bridge: Definition<BridgePlugin<Config>>): Defined<BridgePlugin<Config>> {
  return define('bridge', bridge);
}

/** A language model family: embed, prefill, decode and loss with soft prompts. */
export function defineLanguageModel<Config>(model: Definition<LanguageModelPlugin<Config>>): Defined<LanguageModelPlugin<Config>> {
  return define('language-model', model);
}

/** A training loss over a bridge and a language model. */
export function defineObjective<Config = unknown>(objective: Definition<ObjectivePlugin<Config>>): Defined<ObjectivePlugin<Config>> {
  return define('objective', objective);
}

/** A way to read samples. */
export function defineDataset<Config = unknown>(dataset: Definition<DatasetPlugin<Config>>): Defined<DatasetPlugin<Config>> {
  return define('dataset', dataset);
}

/** A figure of merit over predictions and references. */
export function defineMetric<Prediction = string, Reference = readonly string[], Config = unknown>(
  metric: Definition<MetricPlugin<Prediction, Reference, Config>>,
): Defined<MetricPlugin<Prediction, Reference, Config>> {
  return define('metric', metric);
}

/** A store of image vectors. */
export function defineStore(store: Definition<StorePlugin>): Defined<StorePlugin> {
  return define('store', store);
}

/** A task whose input and output types are those of its schemas. */
export interface SchemaTask<In extends JsonSchema, Out extends JsonSchema>
  extends Omit<Definition<TaskPlugin>, 'input' | 'output' | 'run' | 'stage'> {
  readonly input: In;
  readonly output: Out;
  run(input: SchemaType<In>, context: TaskContext): AsyncIterable<SchemaType<Out> | TaskDelta>;
  stage?: TaskPlugin<SchemaType<In>, SchemaType<Out>>['stage'];
}

/**
 * A task: typed input → typed output over a loaded model. The types come from the two schemas; where JSON Schema cannot say
 * them (image bytes), name them: `defineTask<CaptionInput, CaptionOutput>({ … })`.
 *
 * @example
 * ```ts
 * export default defineTask({
 *   name: 'alt-text',
 *   input: { type: 'object', properties: { html: { type: 'string' } }, required: ['html'] },
 *   output: { type: 'object', properties: { html: { type: 'string' } }, required: ['html'] },
 *   async *run({ html }, { model, signal }) {
 *     yield { html: await withAltTexts(html, model, signal) };
 *   },
 * });
 * ```
 */
// Three type parameters, so that a call which names its two types is not taken for one over schemas.
export function defineTask<const In extends JsonSchema, const Out extends JsonSchema, _Schemas>(
  task: SchemaTask<In, Out>,
): TaskPlugin<SchemaType<In>, SchemaType<Out>>;
export function defineTask<Input, Output>(task: Definition<TaskPlugin<Input, Output>>): TaskPlugin<Input, Output>;
export function defineTask(task: object): object {
  return define('task', task);
}
