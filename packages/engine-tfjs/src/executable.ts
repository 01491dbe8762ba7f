/**
 * One compiled graph: an interpreter over TensorFlow.js's kernels. Weights and constants stay on the device; a run uploads its feeds, walks
 * the nodes (each kernel inside `tidy`, each tensor let go after its last reader), and reads the outputs once, at the end.
 */
import type { Tensor as TfTensor } from '@tensorflow/tfjs-core';
import type { Executable, Graph, PortInfo, RunOptions, Tensor, TensorData } from '@querent/core';
import { QuerentError, isQuerentError } from '@querent/core';
import { REFERENCE_KERNELS, checkFeeds, checkInto, chooseOutputs } from '@querent/graph';
import type { DimSizes } from '@querent/graph';
import type { OpenBackend } from './backends.ts';
import { castTo } from './kernels/call.ts';
import type { Step } from './plan.ts';
import { neededBy, planSteps } from './plan.ts';
import { Value, fromTfArray, heldAs } from './values.ts';

/** Numbers that JavaScript computes with: shapes and axes are short. */
const HOST_ELEMENTS = 64;

export interface ExecutableParts {
  readonly graph: Graph;
  readonly backend: OpenBackend;
  /** Parameter name → its value on the device. */
  readonly frozen: ReadonlyMap<string, Value>;
  readonly asInputs: ReadonlySet<string>;
  readonly onClose: (executable: TfjsExecutable) => void;
}

/** See the file header. */
export class TfjsExecutable implements Executable {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly #parts: ExecutableParts;
  readonly #unused: ReadonlySet<string>;
  /** Constants and frozen parameters by tensor name. */
  readonly #fixed: Map<string, Value> = new Map();
  /** Steps by the outputs that are asked for. */
  readonly #plans: Map<string, readonly Step[]> = new Map();
  #closing: Promise<void> | undefined;

  constructor(parts: ExecutableParts) {
    const { graph, backend, frozen, asInputs } = parts;
    this.#parts = parts;
    const needed = neededBy(graph, graph.outputs.values());
    const port = (name: string, { dtype, shape }: Pick<PortInfo, 'dtype' | 'shape'>): PortInfo => ({ name, dtype, shape });
    const fed = [...graph.parameters.values()].filter(({ name }) => asInputs.has(name));
    this.inputs = [...graph.inputs.map((input) => port(input.name, input)), ...fed.filter(({ tensor }) => needed.has(tensor.name)).map((parameter) => port(parameter.name, parameter))];
    this.outputs = [...graph.outputs].map(([name, tensor]) => port(name, tensor));
    this.#unused = new Set(fed.filter(({ tensor }) => !needed.has(tensor.name)).map(({ name }) => name));
    for (const [name, data] of graph.constants) if (needed.has(name)) this.#fixed.set(name, new Value(backend.tf, data.dtype, data.shape, { data }));
    for (const [name, value] of frozen) this.#fixed.set(graph.parameters.get(name)!.tensor.name, value); // frozen are the graph's own
  }

  async run(feeds: Readonly<Record<string, TensorData>>, options: RunOptions = {}): Promise<Record<string, TensorData>> {
    options.signal?.throwIfAborted();
    this.#assertOpen();
    const { graph } = this.#parts;
    const { into = {} } = options;
    const sizes = checkFeeds(graph.name, this.inputs, feeds, { unused: this.#unused });
    checkInto(graph.name, this.outputs, into, sizes);
    const outputs = chooseOutputs(graph.name, this.outputs, options.outputs, into);
    await nextTurn(); // a run holds the thread: signals and timers come first
    options.signal?.throwIfAborted();
    this.#assertOpen();
    const results = this.#compute(feeds, outputs);
    try {
      return await this.#read(outputs, results, into, sizes);
    } finally {
      for (const { tensor } of results) tensor.dispose();
    }
  }

  /** Frees weights and constants. Twice is harmless. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= Promise.resolve().then(() => {
      for (const value of this.#fixed.values()) value.dispose();
      this.#fixed.clear();
      this.#parts.onClose(this);
    });
    return this.#closing;
  }

  /** All of the run that holds the thread. The tensors are the caller's to dispose. */
  #compute(feeds: Readonly<Record<string, TensorData>>, outputs: readonly PortInfo[]): readonly ComputedOutput[] {
    const { graph, backend } = this.#parts;
    const { tf } = backend;
    backend.use();
    const wanted = outputs.map(({ name }) => graph.outputs.get(name)!); // ports are the graph's outputs
    const steps = this.#stepsFor(wanted);
    const own = new Map<string, Value>();
    const valueOf = (tensor: Tensor): Value => {
      const value = own.get(tensor.name) ?? this.#fixed.get(tensor.name);
      if (value === undefined) throw new QuerentError('QRT_ENGINE_RUN', `Graph ${graph.name}: ${tensor.name} has no value.`);
      return value;
    };
    const feed = (name: string, tensor: Tensor): void => {
      const data = feeds[name];
      if (data !== undefined) own.set(tensor.name, new Value(tf, data.dtype, data.shape, { data }));
    };
    try {
      for (const input of graph.inputs) feed(input.name, input);
      for (const name of this.#parts.asInputs) {
        const parameter = graph.parameters.get(name);
        if (parameter !== undefined) feed(name, parameter.tensor);
      }
      for (const step of steps) {
        const inputs = step.node.inputs.map((input) => (input === null ? undefined : valueOf(input)));
        this.#step(step, inputs).forEach((value, i) => {
          const output = step.node.outputs[i];
          if (output === undefined) value.dispose();
          else own.set(output.name, value);
        });
        for (const name of step.last) {
          own.get(name)?.dispose();
          own.delete(name);
        }
      }
      // A clone has a life of its own: an output may be a feed, a constant, or two outputs the same tensor.
      return wanted.map((tensor) => ({ tensor: tf.clone(valueOf(tensor).tensor), isShared: !own.has(tensor.name) || graph.producer(tensor) === undefined }));
    } catch (cause) {
      if (isQuerentError(cause)) throw cause;
      throw new QuerentError('QRT_ENGINE_RUN', `TensorFlow.js failed in graph ${graph.name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    } finally {
      for (const value of own.values()) value.dispose();
    }
  }

  #step({ node, kernel, isHostable }: Step, inputs: readonly (Value | undefined)[]): readonly Value[] {
    const { tf, readsBack } = this.#parts.backend;
    const dtypeOf = (i: number): TensorData['dtype'] => node.outputs[i]?.dtype ?? 'float32';
    if (kernel === undefined || (isHostable && inputs.every(isSmall))) {
      const reference = node.opType === 'Shape' || node.opType === 'Size' ? sizes : REFERENCE_KERNELS[node.opType];
      const results = reference?.({ node, inputs: inputs.map((value) => value && { dtype: value.dtype, shape: value.shape, data: Float64Array.from(value.numbers ?? value.shape) }) });
      return (results ?? []).map(({ shape, data }, i) => new Value(tf, dtypeOf(i), shape, { numbers: Array.from(data) }));
    }
    try {
      const tensors = tf.tidy(() =>
        kernel.run({ tf, node, inputs, readsBack }).map((tensor, i): TfTensor => {
          const held = heldAs(dtypeOf(i));
          const result = tensor.dtype === held ? tensor : held === 'bool' ? tf.notEqual(tensor, tf.zerosLike(tensor)) : castTo(tf, tensor, held);
          return inputs.some((value) => value?.isUploaded === true && value.tensor === result) ? tf.clone(result) : result;
        }),
      );
      return tensors.map((tensor, i) => new Value(tf, dtypeOf(i), tensor.shape, { tensor }));
    } catch (cause) {
      if (isQuerentError(cause)) throw cause;
      const given = inputs.map((x) => (x === undefined ? '(none)' : `${x.dtype} [${x.shape.join(', ')}]`)).join(', ');
      throw new QuerentError('QRT_ENGINE_RUN', `TensorFlow.js failed in ${node.opType}(${given}) of node ${node.name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  }

  async #read(outputs: readonly PortInfo[], results: readonly ComputedOutput[], into: Readonly<Record<string, TensorData>>, sizes: DimSizes): Promise<Record<string, TensorData>> {
    const { graph, backend } = this.#parts;
    const arrays = await Promise.all(results.map(({ tensor }) => tensor.data()));
    const refused = backend.takeError?.();
    if (refused !== undefined) throw new QuerentError('QRT_ENGINE_RUN', `The device refused a kernel of TensorFlow.js in graph ${graph.name}: ${refused.split('\n').slice(0, 3).join(' ').slice(0, 400)}`);
    const values: Record<string, TensorData> = {};
    outputs.forEach((port, i) => {
      const { tensor, isShared } = results[i]!; // one each
      const data = fromTfArray(port.dtype, arrays[i]!, isShared || backend.sharesMemory);
      const target = into[port.name];
      if (target !== undefined) {
        checkInto(graph.name, [{ ...port, shape: tensor.shape }], { [port.name]: target }, sizes); // dims that the feeds do not say
        (target.data as Float32Array).set(data as Float32Array); // the same class, whichever it is: checked
      }
      values[port.name] = target ?? ({ dtype: port.dtype, shape: [...tensor.shape], data } as TensorData); // fromTfArray pairs them
    });
    return values;
  }

  #stepsFor(wanted: readonly Tensor[]): readonly Step[] {
    const key = wanted.map(({ name }) => name).join('\n');
    const known = this.#plans.get(key) ?? planSteps(this.#parts.graph, wanted);
    this.#plans.set(key, known);
    return known;
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw closedError(`graph ${this.#parts.graph.name}`);
  }
}

interface ComputedOutput {
  readonly tensor: TfTensor;
  /** It is a feed, a constant or a weight, whose array must not leave. */
  readonly isShared: boolean;
}

/** Is this a few numbers that JavaScript has and the device may not even know? */
function isSmall(value: Value | undefined): boolean {
  if (value === undefined) return true;
  return !value.dtype.includes('float') && value.shape.reduce((a, b) => a * b, 1) <= HOST_ELEMENTS && value.numbers !== undefined;
}

/** `Shape` and `Size`, which the reference reads off a tensor's data. */
const sizes: (typeof REFERENCE_KERNELS)[string] = ({ node, inputs }) => {
  const shape = inputs[0]?.shape ?? [];
  const bound = (name: string): number | undefined => (node.attributes[name]?.type === 'int' ? node.attributes[name].value : undefined);
  if (node.opType === 'Size') return [{ dtype: 'int64', shape: [], data: Float64Array.of(shape.reduce((a, b) => a * b, 1)) }];
  const taken = shape.slice(bound('start') ?? 0, bound('end'));
  return [{ dtype: 'int64', shape: [taken.length], data: Float64Array.from(taken) }];
};

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What a closed engine or executable answers. */
export function closedError(what: string): QuerentError {
  return new QuerentError('QRT_ENGINE_RUN', `The engine was asked to work after ${what} had been disposed.`, { fix: 'Dispose it after the last run, or compile again.' });
}
