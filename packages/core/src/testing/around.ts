/** Conformance of what stands around a model: tasks, objectives, datasets, metrics, engines, stores. */
import type { BridgeConfig, BridgePlugin } from '../contracts/bridge.ts';
import type { DatasetPlugin, Sample } from '../contracts/dataset.ts';
import type { EnginePlugin } from '../contracts/engine-plugin.ts';
import type { Tensor } from '../contracts/graph.ts';
import type { LoadedModel } from '../contracts/loaded-model.ts';
import type { Judged, MetricPlugin } from '../contracts/metric.ts';
import type { ObjectivePlugin } from '../contracts/objective.ts';
import type { StorePlugin, StoreRow, StoreSpace } from '../contracts/store.ts';
import type { TaskPlugin } from '../contracts/task.ts';
import { findMistakes } from '../config.ts';
import { from } from '../flow/flow.ts';
import { isFailure } from '../flow/result.ts';
import type { TensorData } from '../tensor.ts';
import type { ConformanceCheck, GraphTools } from './checks.ts';
import { assert, assertClose, assertFinite, check, idsOf, keepsContract, tensorOf, weightsOf } from './checks.ts';

export interface TaskTools<Input> {
  /** Loaded by the caller, who disposes it. */
  readonly model: LoadedModel;
  /** Inputs that it can do, at least one. */
  readonly inputs: readonly Input[];
  /** What its input schema must refuse. */
  readonly wrong?: readonly unknown[];
}

/** Its schemas, its outputs, cancelling, and that `stage` says what `run` says. */
export function taskConformance<Input, Output>(plugin: TaskPlugin<Input, Output>, { model, inputs, wrong = [] }: TaskTools<Input>): ConformanceCheck[] {
  const outputs = async (input: Input): Promise<unknown[]> => {
    const found: unknown[] = [];
    const { signal } = new AbortController();
    for await (const event of plugin.run(input, { model, signal, stream: false })) found.push(event);
    return found;
  };
  const checks = [
    keepsContract(plugin as TaskPlugin), // its types are seen by nobody here
    check('it has a description, for lists and --help', () => assert((plugin.description ?? '') !== '', 'description is missing.')),
    check('the model can do what it requires', () => {
      const lacking = (plugin.requires ?? []).filter((one) => !model.capabilities.has(one));
      assert(lacking.length === 0, `${model.name} lacks ${lacking.join(', ')}: give a model that has them.`);
    }),
    check('its outputs fit its output schema', async () => {
      assert(inputs.length > 0, 'Give at least one input.');
      for (const input of inputs) {
        const mistakes = findMistakes(plugin.input, input);
        assert(mistakes.length === 0, `An input does not fit the input schema: ${mistakes[0]?.pointer} ${mistakes[0]?.message}.`);
        const found = await outputs(input);
        assert(found.length > 0, 'run gave no output.');
        for (const output of found) {
          const wrongs = findMistakes(plugin.output, output);
          assert(wrongs.length === 0, `An output does not fit the output schema: ${wrongs[0]?.pointer} ${wrongs[0]?.message}.`);
        }
      }
    }),
    check('it ends with the reason of a signal that is aborted', async () => {
      const controller = new AbortController();
      const reason = new Error('enough');
      controller.abort(reason);
      try {
        for await (const _ of plugin.run(inputs[0]!, { model, signal: controller.signal, stream: false })); // the first output may be late
      } catch (error) {
        assert(error === reason, `It rejected with ${String(error)}, expected the signal’s own reason.`);
        return;
      }
      throw new Error('It went on: hand `signal` to what waits, or call signal.throwIfAborted().');
    }),
    ...wrong.map((value, i) => check(`its input schema refuses wrong input ${i + 1}`, () => assert(findMistakes(plugin.input, value).length > 0, `It takes ${JSON.stringify(value)?.slice(0, 200)}.`))),
  ];
  const { stage } = plugin;
  if (stage === undefined) return checks;
  checks.push(
    check('its stage says what run says, in order', async () => {
      const signal = new AbortController().signal;
      let at = 0;
      for await (const result of stage.call(plugin, { model, signal })(from(inputs))) {
        const last = (await outputs(inputs[at++]!)).at(-1);
        assert(!isFailure(result), 'stage failed where run does not.');
        assert(isSame(result.value, last), `Input ${at}: stage gives ${JSON.stringify(result.value)?.slice(0, 200)}, run ${JSON.stringify(last)?.slice(0, 200)}.`);
      }
      assert(at === inputs.length, `stage gave ${at} results of ${inputs.length} inputs.`);
    }),
  );
  return checks;
}

/** Equal, numbers within what summing in another order changes: a batch is another order. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a === 'number' && typeof b === 'number') return Math.abs(a - b) <= 1e-3 * Math.max(1, Math.abs(b)) || Object.is(a, b);
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b);
  const [own, other] = [Object.entries(a), Object.entries(b)];
  return own.length === other.length && own.every(([key, value], i) => key === other[i]?.[0] && isSame(value, other[i]?.[1]));
}

/** Figures over what is judged, and one a prediction where there are such. */
export function metricConformance<Prediction, Reference, Config>(
  plugin: MetricPlugin<Prediction, Reference, Config>,
  { judged, config }: { readonly judged: readonly Judged<Prediction, Reference>[]; readonly config: Config },
): ConformanceCheck[] {
  return [
    keepsContract(plugin as unknown as MetricPlugin), // its types are seen by nobody here
    check('its figures are numbers, with one a prediction where it has such', async () => {
      const { figures, each = {} } = await plugin.evaluate(judged, config);
      assert(Object.keys(figures).length > 0, 'evaluate gives no figure.');
      for (const [name, value] of Object.entries(figures)) assert(Number.isFinite(value), `${name} is ${value}.`);
      for (const [name, values] of Object.entries(each)) assert(values.length === judged.length, `each.${name} has ${values.length} figures of ${judged.length} predictions.`);
    }),
  ];
}

/** The same samples at each reading, each with an id of its own. */
export function datasetConformance<Config>(plugin: DatasetPlugin<Config>, { config, root }: { readonly config: Config; readonly root: string }): ConformanceCheck[] {
  const read = async (): Promise<Sample[]> => {
    const samples: Sample[] = [];
    for await (const sample of plugin.open(config, { root })) samples.push(sample);
    return samples;
  };
  return [
    keepsContract(plugin as DatasetPlugin), // its types are seen by nobody here
    check('its config fits its schema', () => {
      const mistakes = plugin.configSchema === undefined ? [] : findMistakes(plugin.configSchema, config);
      assert(mistakes.length === 0, `${mistakes[0]?.pointer} ${mistakes[0]?.message}`);
    }),
    check('it reads the same samples each time, every id once', async () => {
      const [once, again] = [await read(), await read()];
      assert(once.length > 0, 'There is no sample.');
      assert(once.map(({ id }) => id).join('\n') === again.map(({ id }) => id).join('\n'), 'A second reading gives other samples.');
      const twice = once.find(({ id }, i) => once.findIndex((other) => other.id === id) !== i);
      assert(twice === undefined, `The id ${twice?.id} is there twice.`);
      for (const { id, captions } of once) assert(Array.isArray(captions), `${id} has no captions.`);
    }),
    check('it can be left, and read again', async () => {
      for await (const _ of plugin.open(config, { root })) break;
      assert((await read()).length > 0, 'Nothing is there the second time.');
    }),
  ];
}

export interface ObjectiveTools<Config> extends GraphTools {
  readonly bridge: BridgePlugin;
  /** Small sizes, complete. `encoder_hidden_size` is the width of the features, 8 when absent. */
  readonly bridgeConfig: BridgeConfig;
  readonly config: Config;
}

/** A loss as one finite number, over a bridge with drawn weights. */
export function objectiveConformance<Config>(plugin: ObjectivePlugin<Config>, { engine, createGraph, bridge, bridgeConfig, config }: ObjectiveTools<Config>): ConformanceCheck[] {
  return [
    keepsContract(plugin as ObjectivePlugin), // its types are seen by nobody here
    check('its loss is one number', async () => {
      const g = createGraph('objective');
      const given = 'encoder_hidden_size' in bridgeConfig ? Number(bridgeConfig.encoder_hidden_size) : 8;
      const features = g.input('features', 'float32', ['batch', 'patches', given]);
      const built = bridge.build(g, bridgeConfig);
      const [rows, tokens] = [2, 3];
      const feeds: Record<string, TensorData> = {
        features: tensorOf([rows, 4, given], 3),
        input_ids: idsOf([rows, tokens], [1, 5, 6, 1, 7, 8]),
        attention_mask: idsOf([rows, tokens], new Array(rows * tokens).fill(1)),
        image_ids: idsOf([rows], [0, 1]),
      };
      const noise = (name: string, shape: readonly (number | string)[]): Tensor => {
        feeds[name] = tensorOf(shape.map((dim) => (typeof dim === 'number' ? dim : dim === 'tokens' ? tokens : rows)), 11);
        return g.input(name, 'float32', shape);
      };
      const text = { inputIds: g.input('input_ids', 'int64', ['batch', 'tokens']), attentionMask: g.input('attention_mask', 'int64', ['batch', 'tokens']) };
      const imageIds = g.input('image_ids', 'int64', ['batch']);
      const { loss, metrics = {} } = plugin.build(g, { features, bridge: built, image: built.encode(features), text, imageIds, noise }, config);
      assert(loss.shape.length === 0 && loss.dtype === 'float32', `loss is ${loss.dtype} [${loss.shape.join(', ')}], expected a float32 scalar.`);
      g.output('loss', loss);
      for (const [name, tensor] of Object.entries(metrics)) g.output(name, tensor);
      await using executable = await engine.compile(g.graph, weightsOf(g.graph));
      const wanted = new Set(executable.inputs.map(({ name }) => name));
      const outputs = await executable.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => wanted.has(name))));
      for (const [name, value] of Object.entries(outputs)) assertFinite(name, value);
    }),
  ];
}

/** Compiles and runs a graph, alone and many times at once, and can be disposed twice. */
export function engineConformance(plugin: EnginePlugin, { createGraph, add }: Pick<GraphTools, 'createGraph'> & { readonly add: (a: Tensor, b: Tensor) => Tensor }): ConformanceCheck[] {
  const sum = (): { readonly graph: ReturnType<GraphTools['createGraph']>['graph'] } => {
    const g = createGraph('sum');
    g.output('sum', add(g.input('x', 'float32', ['batch', 3]), g.parameter('bias', [3])));
    return g;
  };
  const bias: TensorData<'float32'> = { dtype: 'float32', shape: [3], data: Float32Array.of(1, 2, 3) };
  return [
    keepsContract(plugin),
    check('it runs a graph with its parameters, for several callers at once', async () => {
      await using engine = await plugin.create();
      assert(engine.name.startsWith(plugin.name), `The engine calls itself ${engine.name}, expected ${plugin.name}:backend.`);
      await using executable = await engine.compile(sum().graph, new Map([['bias', bias]]));
      const runs = await Promise.all([1, 2, 3].map((x) => executable.run({ x: { dtype: 'float32', shape: [1, 3], data: new Float32Array(3).fill(x) } })));
      for (const [i, { sum: found }] of runs.entries()) assertClose(`run ${i + 1}`, found, { dtype: 'float32', shape: [1, 3], data: bias.data.map((one) => one + i + 1) });
    }),
    check('a parameter that is missing is refused with QRT_CHECKPOINT_MISMATCH', async () => {
      await using engine = await plugin.create();
      const code = await engine.compile(sum().graph, new Map()).then(() => 'nothing', (error: unknown) => (typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : String(error)));
      assert(code === 'QRT_CHECKPOINT_MISMATCH', `compile threw ${code}.`);
    }),
    check('disposing it twice is harmless', async () => {
      const engine = await plugin.create();
      await engine[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
    }),
  ];
}

/** Rows that are added are found, also after it was closed, and can be removed. */
export function storeConformance(plugin: StorePlugin, { location }: { /** Nothing is there yet. */ readonly location: string }): ConformanceCheck[] {
  const unit = (...values: readonly number[]): Float32Array => Float32Array.from(values, (value) => value / Math.hypot(...values));
  const space: StoreSpace = { queries: 1, shared: 3, model: 'conformance', probe: unit(1, 1, 1) };
  const rows: StoreRow[] = [
    { id: 'a.jpg', version: '1', vectors: unit(1, 0, 0) },
    { id: 'b.jpg', version: '1', vectors: unit(0, 1, 0) },
    { id: 'c.jpg', version: '1', vectors: unit(0.9, 0.1, 0) },
  ];
  return [
    keepsContract(plugin),
    check('what was added is found after it was closed, best first, and can be replaced and removed', async () => {
      {
        await using store = await plugin.open(location, { space, write: true });
        await store.add(rows);
      }
      await using store = await plugin.open(location, { space, write: true });
      const found = async (): Promise<string> => (await store.search(unit(1, 0, 0), { top: 2 })).map(({ id }) => id).join();
      assert(store.size === 3, `size is ${store.size}, expected 3.`);
      assert((await found()) === 'a.jpg,c.jpg', `search gives ${await found()}, expected a.jpg,c.jpg.`);
      await store.add([{ id: 'a.jpg', version: '2', vectors: unit(0, 0, 1) }]);
      assert((await store.version('a.jpg')) === '2', 'A row that is added again is not replaced.');
      await store.remove(['c.jpg']);
      await store.flush();
      const size: number = store.size;
      assert(size === 2 && (await store.version('c.jpg')) === undefined, 'A removed row is still there.');
    }),
  ];
}
