/** A task over the photographs that a command line names: in order, one line or JSON object each, errors on stderr, progress on a terminal. */
import type { ImageSource } from '@querent/core';
import type { TaskPipeline } from 'querent';
import { photosOf } from './inputs.ts';
import type { Photo } from './inputs.ts';
import { note, printJson, printLine, progressLine, thousands } from './output.ts';
import { describeItemError, errorJson } from './print-error.ts';

export interface PhotoRun<Input, Output extends object> {
  /** From {@link lookedUp}. */
  readonly photos: AsyncIterable<Photo>;
  readonly task: TaskPipeline<Input, Output>;
  readonly input: (image: ImageSource) => Input;
  /** What `--json` prints after `image`. */
  readonly json: (output: Output) => object;
  /** What is printed otherwise, each line after the photograph's name. */
  readonly lines: (output: Output) => readonly string[];
  /** For the progress line: `captioned`. */
  readonly done: string;
  readonly asJson: boolean;
  readonly signal: AbortSignal;
}

/** The photographs, the first of them looked up now: naming none is a mistake that should not cost the loading of a model. */
export async function lookedUp(named: readonly string[]): Promise<AsyncIterable<Photo>> {
  const photos = photosOf(named);
  const first = await photos.next();
  return (async function* () {
    if (first.done !== true) yield first.value;
    yield* photos;
  })();
}

/** Gives the exit code: 1 when a photograph failed, which has been told. */
export async function overPhotos<Input, Output extends object>(run: PhotoRun<Input, Output>): Promise<number> {
  const { photos, task, input, json, lines, asJson, signal } = run;
  const pending: string[] = [];
  const inputs = async function* (): AsyncGenerator<Input> {
    for await (const { name, image } of photos) {
      pending.push(name);
      yield input(image);
    }
  };
  const started = performance.now();
  let [done, failed] = [0, 0];
  for await (const result of task(inputs(), { signal })) {
    const name = pending.shift() ?? ''; // a flow keeps the order
    done++;
    if (result.error !== undefined) {
      failed++;
      if (asJson) printJson({ image: name, error: errorJson(result.error) });
      note(`${name}   ${describeItemError(result.error)}`);
    } else {
      const output = result as Output; // without an error it is the output beside its item
      if (asJson) printJson({ image: name, ...json(output) });
      else for (const line of lines(output)) printLine(`${name}   ${line}`);
    }
    if (done > 1) progressLine.show(`${thousands(done)} ${run.done}, ${((1000 * done) / (performance.now() - started)).toFixed(1)} a second`);
  }
  progressLine.clear();
  signal.throwIfAborted();
  return failed > 0 ? 1 : 0;
}
