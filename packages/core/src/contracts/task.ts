/**
 * What a task promises: from an input of its schema to outputs of its schema, over a loaded model. Types only. Tasks that
 * come with Querent are in `packages/tasks`; the command line and the server make flags and routes from the two schemas.
 */
import type { Result } from '../flow/result.ts';
import type { Stage } from '../flow/flow.ts';
import type { LoadedModel, ModelCapability } from './loaded-model.ts';
import type { JsonSchema, PluginBase } from './plugin.ts';

/** What a task is given beside its input. */
export interface TaskContext {
  readonly model: LoadedModel;
  /** Aborted when nobody waits any longer. */
  readonly signal: AbortSignal;
  /** Someone reads along: yield {@link TaskDelta}s as they come. False: only whole outputs. */
  readonly stream: boolean;
}

/** A piece of text, ahead of the output that will hold all of it. */
export interface TaskDelta {
  readonly delta: string;
}

/** One kind of work over a model. */
export interface TaskPlugin<Input = unknown, Output = unknown> extends PluginBase<'task'> {
  /** JSON Schema of one input. A value that JSON cannot hold (image bytes) has the schema `{}`. */
  readonly input: JsonSchema;
  /** JSON Schema of one output. */
  readonly output: JsonSchema;
  /** What the model must be able to do; checked before `run`. */
  readonly requires?: readonly ModelCapability[];
  /**
   * Does the work for one input. The last thing yielded is the output; a task with several outputs yields each. Throws
   * what went wrong; when `signal` is aborted, the signal's own reason.
   */
  run(input: Input, context: TaskContext): AsyncIterable<Output | TaskDelta>;
  /**
   * The same for many inputs, batched and overlapped; `run` for each is used where it is absent. One result an input, in
   * order; an input that fails becomes a failed result.
   */
  stage?(context: Omit<TaskContext, 'stream'>): Stage<Input, Result<Input, Output>>;
}
