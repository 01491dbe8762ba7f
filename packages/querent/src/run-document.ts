/**
 * Runs a pipeline document: `querent run pipeline.json`, and the same in code. Each model is loaded once; items are read when there is
 * room for them, so memory stays flat; an item that fails is told and the others go on; what was written before a stop is not done again.
 */
import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { createMeter, createMetrics, from, isQuerentError, linkSignals, readJson } from '@querent/core';
import type { LoadedModel, Progress, QuerentError, Stage, StageMetrics, TaskPlugin } from '@querent/core';
import type { Querent } from './create-querent.ts';
import type { DocumentStage, PipelineDocument } from './pipeline-document.ts';
import { mistaken, parsePipeline, stageOptions } from './pipeline-document.ts';
import { withDocumentPlugins } from './plugins.ts';
import { digestOf, openFileSink } from './run-document-sink.ts';
import type { FileSink } from './run-document-sink.ts';
import { countOf, itemsOf } from './run-document-source.ts';
import type { SourceItem } from './run-document-source.ts';
import type { ItemOutput } from './stages.ts';
import { task as taskStage } from './task-stage.ts';
import type { VisionLanguageModel } from './vision-language-model.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What a run says while it goes on. */
export type PipelineEvent =
  /** A file of an earlier run was found; so many items are not done again. */
  | { readonly type: 'resumed'; readonly done: number; readonly failed: number }
  /** `result` is what the sink has: the source's fields with all outputs, or with `error`. */
  | { readonly type: 'item'; readonly index: number; readonly result: Fields; readonly error?: Error }
  | { readonly type: 'progress'; readonly progress: Progress; readonly stages: readonly StageMetrics[] }
  /** Everything is done, and written where a sink names a file. */
  | { readonly type: 'end'; readonly done: number; readonly failed: number; readonly file?: string; readonly stages: readonly StageMetrics[] };

export interface RunPipelineOptions {
  /** Loads the models, which are freed at the end, and stays the caller's. */
  readonly querent: Querent;
  /** What relative paths of a document object start from. Default: the working directory; for a file its folder. */
  readonly baseDir?: string;
  readonly signal?: AbortSignal;
  /** Begin anew, whatever an earlier run has left. Default false. */
  readonly restart?: boolean;
  /** At most one progress event in this time, in milliseconds. Default 200. */
  readonly everyMs?: number;
}

/**
 * Runs a document, or a file that holds one. Results for standard output are only told (`item`): printing is the caller's.
 *
 * @throws QuerentError QRT_CONFIG_INVALID and QRT_CONFIG_UNREADABLE for the document, QRT_FILE, what loading a model throws (with the
 *   JSON pointer of the model), QRT_USAGE when the source has changed since a run that is to go on; the signal's reason.
 *
 * @example
 * for await (const event of runPipeline('pipeline.json', { querent })) if (event.type === 'item') console.log(event.result);
 */
export async function* runPipeline(document: string | PipelineDocument, options: RunPipelineOptions): AsyncGenerator<PipelineEvent, void, undefined> {
  const { querent, signal, restart = false, everyMs = 200 } = options;
  const file = typeof document === 'string' ? document : undefined;
  const baseDir = resolve(options.baseDir ?? (file === undefined ? '.' : dirname(file)));
  const given: unknown = file === undefined ? document : await readJson(file);
  const plugins = typeof given === 'object' && given !== null && 'plugins' in given ? given.plugins : undefined;
  const tasks = (await withDocumentPlugins(querent.registry, { plugins, ...(file === undefined ? {} : { file }) })).list('task');
  const parsed = parsePipeline(given, { tasks, ...(file === undefined ? {} : { file }) });
  const sink = await sinkOf(parsed, baseDir, restart);
  const { controller, unlink } = linkSignals(signal === undefined ? [] : [signal]);
  const loaded = new Map<string, Promise<VisionLanguageModel>>();
  try {
    if (sink !== undefined && sink.resumed.count > 0) yield { type: 'resumed', done: sink.resumed.count, failed: sink.resumed.failed };
    const models = await loadModels(parsed, { querent, tasks, baseDir, loaded, signal: controller.signal, ...(file === undefined ? {} : { file }) });
    const metrics = createMetrics();
    let run: Stage<Fields, ItemOutput<Fields, object>> | undefined;
    for (const [i, stage] of parsed.stages.entries()) {
      const next = documentStage(stage, models[i]!, tasks, parsed, metrics);
      const before = run;
      run = before === undefined ? next : (source) => (next as Stage<unknown, ItemOutput<Fields, object>>)(before(source)); // a stage reads what the one before it gives
    }
    const shown = new WeakMap<object, Fields>();
    const source = unfinished(parsed, baseDir, sink, shown);
    const total = countOf(parsed.source);
    const meter = createMeter(total === undefined ? {} : { total: total - (sink?.resumed.count ?? 0) });
    let [index, failed, told] = [sink?.resumed.count ?? 0, sink?.resumed.failed ?? 0, performance.now()];
    for await (const result of run!(from(source, { signal: controller.signal }))) { // the schema asks for a stage
      const { item, error, ...outputs } = result as { readonly item: Fields; readonly error?: Error };
      const written: Fields = { ...shown.get(item), ...(error === undefined ? outputs : { error: errorOf(error) }) };
      await sink?.write(written);
      if (error !== undefined) failed++;
      meter.add(1, error === undefined ? 0 : 1);
      yield { type: 'item', index: index++, result: written, ...(error === undefined ? {} : { error }) };
      if (performance.now() - told < everyMs) continue;
      told = performance.now();
      yield { type: 'progress', progress: meter.read(), stages: metrics.read() };
    }
    await sink?.finish();
    const name = parsed.sink === undefined ? undefined : 'jsonl' in parsed.sink ? parsed.sink.jsonl : 'json' in parsed.sink ? parsed.sink.json : undefined;
    yield { type: 'end', done: index, failed, ...(name === undefined ? {} : { file: name }), stages: metrics.read() };
  } finally {
    unlink();
    await sink?.close();
    for (const model of await Promise.allSettled(loaded.values())) if (model.status === 'fulfilled') await model.value[Symbol.asyncDispose]();
  }
}

async function sinkOf(document: PipelineDocument, baseDir: string, restart: boolean): Promise<FileSink | undefined> {
  const { sink } = document;
  if (sink === undefined || 'stdout' in sink) return undefined;
  const [path, format] = 'jsonl' in sink ? ([sink.jsonl, 'jsonl'] as const) : ([sink.json, 'json'] as const);
  return openFileSink(resolve(baseDir, path), format, digestOf(document), { restart });
}

/** A stage of the document over its model. */
function documentStage(stage: DocumentStage, model: LoadedModel, tasks: readonly TaskPlugin[], document: PipelineDocument, metrics: ReturnType<typeof createMetrics>): Stage<Fields, ItemOutput<Fields, object>> {
  const plugin = tasks.find(({ name }) => name === stage.task) as TaskPlugin<Fields, object>; // the schema allows no other
  const { as, inputs, retry = document.retry } = stage;
  return taskStage<Fields, Fields, object, string | undefined>(model, plugin, stageOptions(stage), {
    metrics,
    ...(as === undefined ? {} : { as }),
    ...(inputs === undefined ? {} : { inputs }),
    ...(retry === undefined ? {} : { retry }),
  });
}

interface ModelsContext {
  readonly querent: Querent;
  readonly tasks: readonly TaskPlugin[];
  readonly baseDir: string;
  readonly file?: string;
  readonly signal: AbortSignal;
  /** Filled with what is loaded, by folder or name. */
  readonly loaded: Map<string, Promise<VisionLanguageModel>>;
}

/** The model of each stage; each is loaded once. */
async function loadModels(document: PipelineDocument, context: ModelsContext): Promise<LoadedModel[]> {
  const { querent, tasks, baseDir, file, signal, loaded } = context;
  const { engine, precision } = document;
  const load = (name: string): Promise<VisionLanguageModel> => {
    const loading = loaded.get(name) ?? querent.load(name, { signal, ...(engine === undefined ? {} : { engine }), ...(precision === undefined ? {} : { precision }) });
    loaded.set(name, loading);
    return loading;
  };
  const models: LoadedModel[] = [];
  for (const [i, stage] of document.stages.entries()) {
    const pointer = stage.model === undefined ? '/model' : `/stages/${i}/model`;
    const named = stage.model ?? document.model;
    const name = await located(named, baseDir);
    const { requires = [] } = tasks.find((one) => one.name === stage.task)!; // the schema allows no other
    const lacks = (model: LoadedModel): string[] => requires.filter((capability) => !model.capabilities.has(capability));
    let model: LoadedModel = await load(name).catch((error: unknown) => {
      throw isQuerentError(error) && !signal.aborted ? pointed(error, pointer, named, file) : error;
    });
    if (stage.model === undefined && lacks(model).length > 0) {
      const companion = join(dirname(name), `${basename(name)}-retrieval`);
      if (await isFolder(companion)) model = await load(companion);
    }
    const missing = lacks(model);
    if (missing.length > 0) {
      const message = `the task ${stage.task} needs a model that can ${missing.join(' and ')}; ${named} can ${[...model.capabilities].join(', ')}. Name another one for this stage: "model": "…"`;
      throw mistaken([{ pointer: `/stages/${i}`, message, value: stage }], file);
    }
    models.push(model);
  }
  return models;
}

/** A folder beside the document, or the name as it is: a folder of the working directory, or a model on the hub. */
async function located(name: string, baseDir: string): Promise<string> {
  const beside = resolve(baseDir, name);
  return (await isFolder(beside)) ? beside : name;
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

/** The same error, with the place in the document that asked for the model. */
function pointed(error: QuerentError, pointer: string, name: string, file: string | undefined): Error {
  if (error.code !== 'QRT_FILE' && !error.code.startsWith('QRT_HUB')) return error; // the model is there, and its error names its own file
  return mistaken([{ pointer, message: `the model ${JSON.stringify(name)} is not there. ${error.message}`, value: name }], file);
}

/** Items that an earlier run has not done. @throws QuerentError QRT_CONFIG_INVALID when those that it has done are others now. */
async function* unfinished(document: PipelineDocument, baseDir: string, sink: FileSink | undefined, shown: WeakMap<object, Fields>): AsyncGenerator<Fields, void, undefined> {
  const previous = sink?.previous();
  let left = sink?.resumed.count ?? 0;
  let index = 0;
  try {
    for await (const item of itemsOf(document.source, baseDir)) {
      if (left > 0) {
        left--;
        const step = await previous?.next();
        if (step?.done === false && !isOf(step.value, item)) throw changed(index, item);
        index++;
        continue;
      }
      shown.set(item.fields, item.shown);
      yield item.fields;
    }
    if (left > 0) throw changed(index, undefined);
  } finally {
    await previous?.return();
  }
}

/** Was this result made of that item? */
function isOf(result: Fields, { shown }: SourceItem): boolean {
  return !('image' in shown) || JSON.stringify(result['image']) === JSON.stringify(shown['image']);
}

function changed(index: number, item: SourceItem | undefined): Error {
  const now = item === undefined ? 'ends there now' : `is ${JSON.stringify(item.shown).slice(0, 100)} now`;
  return mistaken([{ pointer: '/source', message: `item ${index} ${now}, which is not what the stopped run had. Put the source back as it was, or begin anew (--restart)`, value: item?.shown }], undefined);
}

function errorOf(error: Error): Fields {
  return isQuerentError(error) ? { code: error.code, message: error.message, ...(error.fix === undefined ? {} : { fix: error.fix }) } : { code: 'UNEXPECTED', message: error.message };
}

/** How a document's results are to be printed; undefined where they go into a file. @throws QuerentError QRT_CONFIG_UNREADABLE. */
export async function stdoutFormat(file: string): Promise<'jsonl' | 'json' | undefined> {
  const document: unknown = await readJson(file);
  const sink: unknown = typeof document === 'object' && document !== null && 'sink' in document ? document.sink : undefined;
  if (typeof sink !== 'object' || sink === null) return 'jsonl';
  return 'stdout' in sink ? (sink.stdout === 'json' ? 'json' : 'jsonl') : undefined;
}
