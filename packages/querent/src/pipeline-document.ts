/**
 * A pipeline as a JSON document: a source, tasks one after the other, a sink. Its schema is made from the tasks' own, so that an editor
 * completes each stage's options; `schema/pipeline.json` is that of the built-in tasks. Read next: `run-document.ts`.
 */
import { QuerentError, findMistakes } from '@querent/core';
import type { ConfigMistake, JsonSchema, TaskPlugin } from '@querent/core';
import { documentPluginsSchema } from './plugins.ts';
import { inputNames } from './task-stage.ts';

/** Tries again items whose failure may pass. */
export interface DocumentRetry {
  /** Attempts altogether. */
  readonly attempts: number;
  /** Wait before the second one, in milliseconds; it doubles. Default 200. */
  readonly backoffMs?: number;
}

/** A task with its options beside it. */
export interface DocumentStage {
  readonly task: string;
  /** Default: the document's. */
  readonly model?: string;
  /** Keep the output under this key. */
  readonly as?: string;
  /** Input name → name of an earlier output (`answer.text`). */
  readonly inputs?: Readonly<Record<string, string>>;
  readonly retry?: DocumentRetry;
  readonly [option: string]: unknown;
}

export type DocumentSource =
  | { readonly folder: string; readonly glob?: string }
  | { readonly jsonl: string }
  | { readonly list: readonly (string | Readonly<Record<string, unknown>>)[] };

export type DocumentSink = { readonly jsonl: string } | { readonly json: string } | { readonly stdout: 'jsonl' | 'json' };

/** Paths are relative to the document's folder. */
export interface PipelineDocument {
  readonly $schema?: string;
  readonly model: string;
  /** Packages whose tasks the stages may name. */
  readonly plugins?: readonly string[];
  readonly engine?: string;
  readonly precision?: 'fp32' | 'fp16' | 'int8' | 'int4';
  readonly source: DocumentSource;
  readonly stages: readonly DocumentStage[];
  /** Default: JSON lines on standard output. */
  readonly sink?: DocumentSink;
  readonly retry?: DocumentRetry;
}

/** Where and what a document is, for messages. */
export interface ParseOptions {
  readonly file?: string;
  /** Tasks that a stage may name. */
  readonly tasks: readonly TaskPlugin[];
}

const OWN_KEYS = ['task', 'model', 'as', 'inputs', 'retry'] as const;

const retrySchema: JsonSchema = {
  description: 'Try again items whose failure may pass: the network, a busy file, a failed run.',
  type: 'object',
  properties: {
    attempts: { type: 'integer', minimum: 1, maximum: 100, description: 'Attempts altogether.' },
    backoffMs: { type: 'number', minimum: 0, maximum: 3_600_000, description: 'Wait before the second attempt in milliseconds; it doubles before each further one. Default 200.' },
  },
  required: ['attempts'],
  additionalProperties: false,
};

const path = (description: string): JsonSchema => ({ type: 'string', minLength: 1, description });

/** The JSON Schema (draft-07) of a document whose stages are these tasks. */
export function pipelineSchema(tasks: readonly TaskPlugin[]): JsonSchema {
  const sorted = tasks.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'A Querent pipeline',
    description: 'A source, tasks one after the other, a sink. Paths are relative to the folder of this document.',
    type: 'object',
    properties: {
      $schema: { type: 'string', description: 'Where this schema is, for editors.' },
      model: path('The model of all stages that name no other: a folder, or a name on the hub. A stage that it cannot do is given to the model in the folder of the same name with -retrieval, if there is one.'),
      plugins: documentPluginsSchema,
      engine: path('Engine and backend, for instance onnxruntime:cpu.'),
      precision: { enum: ['fp32', 'fp16', 'int8', 'int4'], description: 'How frozen weights are held. Default: as the file has them.' },
      source: {
        description: 'Where items come from.',
        type: 'object',
        properties: {
          folder: path('A folder of pictures, in order of name.'),
          glob: path('Which files of the folder. Default **/*.{jpg,jpeg,png,webp,gif,avif,tif,tiff}.'),
          jsonl: path('A file with a JSON object a line; `image` is a path relative to it, or a URL.'),
          list: { description: 'The items themselves: paths or URLs of pictures, or objects.', type: 'array', items: { type: ['string', 'object'] } },
        },
        additionalProperties: false,
        oneOf: [{ title: 'one with "folder"', required: ['folder'] }, { title: 'one with "jsonl"', required: ['jsonl'] }, { title: 'one with "list"', required: ['list'] }],
        dependencies: { glob: ['folder'] },
      },
      stages: { description: 'What is done with each item, in this order.', type: 'array', minItems: 1, maxItems: 100, items: stageSchema(sorted) },
      sink: {
        description: 'Where results go. Default: JSON lines on standard output.',
        type: 'object',
        properties: {
          jsonl: path('A file with a JSON object an item. It is there when all of it is; a run that was stopped goes on where it was.'),
          json: path('A file with an array of all. It is there when all of it is; a run that was stopped goes on where it was.'),
          stdout: { enum: ['jsonl', 'json'], description: 'Standard output, an object a line or one array.' },
        },
        additionalProperties: false,
        oneOf: [{ title: 'one with "jsonl"', required: ['jsonl'] }, { title: 'one with "json"', required: ['json'] }, { title: 'one with "stdout"', required: ['stdout'] }],
      },
      retry: retrySchema,
    },
    required: ['model', 'source', 'stages'],
    additionalProperties: false,
  };
}

function stageSchema(tasks: readonly TaskPlugin[]): JsonSchema {
  return {
    type: 'object',
    properties: { task: { description: `Which task: ${tasks.map(({ name, description }) => `${name} (${description ?? 'of a plugin'})`).join(' ')}`, enum: tasks.map(({ name }) => name) } },
    required: ['task'],
    allOf: tasks.map((task) => ({
      if: { type: 'object', properties: { task: { const: task.name } }, required: ['task'] },
      // oxlint-disable-next-line unicorn/no-thenable -- JSON Schema's keyword
      then: {
        properties: {
          ...optionsOf(task),
          task: { const: task.name, ...(task.description === undefined ? {} : { description: task.description }) },
          model: path("The model of this stage. Default: the document's."),
          as: { type: 'string', pattern: '^[A-Za-z_][A-Za-z0-9_-]*$', description: 'Keep the output under this key, where two stages would give the same.' },
          inputs: {
            type: 'object',
            description: 'Inputs that have another name: { "text": "answer.text" } reads the text of the stage that is called answer.',
            propertyNames: { enum: [...inputNames(task)] },
            additionalProperties: { type: 'string', minLength: 1 },
          },
          retry: retrySchema,
        },
        additionalProperties: false,
      },
    })),
  };
}

/** Options of a task that JSON can hold: all but objects with functions, whose schema names no type. */
function optionsOf({ input }: TaskPlugin): Readonly<Record<string, unknown>> {
  const properties = input['properties'];
  if (typeof properties !== 'object' || properties === null) return {};
  const isJson = ([name, schema]: readonly [string, unknown]): boolean => name === 'image' || (typeof schema === 'object' && schema !== null && ['type', 'enum', 'const', 'anyOf', 'oneOf'].some((key) => key in schema));
  return Object.fromEntries(Object.entries(properties).filter(isJson));
}

/**
 * Checks a document: its keys, and whether each stage is given what it needs by those before it.
 *
 * @throws QuerentError QRT_CONFIG_INVALID with all mistakes, each at its JSON pointer (`details.mistakes`).
 */
export function parsePipeline(document: unknown, { file, tasks }: ParseOptions): PipelineDocument {
  const mistakes = findMistakes(schemaOf(tasks), document);
  if (mistakes.length > 0) throw mistaken(mistakes, file);
  const parsed = document as PipelineDocument; // the schema was just checked
  const order = orderMistakes(parsed, new Map(tasks.map((task) => [task.name, task])));
  if (order.length > 0) throw mistaken(order, file);
  return parsed;
}

let last: { readonly tasks: readonly TaskPlugin[]; readonly schema: JsonSchema } | undefined;

/** The schema of the same tasks is compiled once. */
function schemaOf(tasks: readonly TaskPlugin[]): JsonSchema {
  if (last === undefined || last.tasks.length !== tasks.length || last.tasks.some((task, i) => task !== tasks[i])) last = { tasks: [...tasks], schema: pipelineSchema(tasks) };
  return last.schema;
}

/** The error of a document with mistakes. */
export function mistaken(mistakes: readonly ConfigMistake[], file: string | undefined): QuerentError {
  const lines = mistakes.map(({ pointer, message }) => `  ${pointer === '' ? '(root)' : pointer}  ${message}`);
  const head = `${file === undefined ? '' : `${file}: `}the pipeline has ${mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`}:`;
  return new QuerentError('QRT_CONFIG_INVALID', [head, ...lines].join('\n'), {
    fix: `Mend ${mistakes.length === 1 ? 'it' : 'them'}${file === undefined ? '' : ` in ${file}`} and try again.`,
    details: { file, what: 'the pipeline', mistakes },
  });
}

/** The task's options of a stage. */
export function stageOptions(stage: DocumentStage): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(stage).filter(([key]) => !OWN_KEYS.some((own) => own === key)));
}

/** Stages that lack an input or write over an output. A JSON Lines file may give anything; then only what is certain is told. */
function orderMistakes({ source, stages }: PipelineDocument, tasks: ReadonlyMap<string, TaskPlugin>): ConfigMistake[] {
  const mistakes: ConfigMistake[] = [];
  const isOpen = 'jsonl' in source || ('list' in source && source.list.length === 0); // nothing is known of its items
  const known = new Map<string, string>(sourceFields(source).map((field) => [field, '/source']));
  stages.forEach((stage, i) => {
    const task = tasks.get(stage.task)!; // the schema allows no other
    const pointer = `/stages/${i}`;
    const options = stageOptions(stage);
    for (const [name, from] of Object.entries(stage.inputs ?? {})) {
      const first = from.split('.')[0] ?? '';
      if (isOpen || known.has(first)) continue;
      mistakes.push({ pointer: `${pointer}/inputs/${name}`, message: `is ${JSON.stringify(from)}, but ${whereLater(first, i, stages, tasks) ?? `no stage before it gives ${JSON.stringify(first)}; there are ${[...known.keys()].join(', ')}`}`, value: from });
    }
    for (const name of neededOf(task)) {
      if (name in options || name in (stage.inputs ?? {}) || known.has(name) || isOpen) continue;
      const givers = [...tasks.values()].filter((other) => outputNames(other).includes(name)).map((other) => other.name);
      const way = whereLater(name, i, stages, tasks) ?? (givers.length > 0 ? `${givers.join(', ')} would give it` : 'no task gives it');
      mistakes.push({ pointer, message: `${JSON.stringify(name)} is missing: ${stage.task} needs it, and neither the source nor a stage before it gives it. Write it here, or put a stage before it that does; ${way}`, value: stage });
    }
    const gives = stage.as === undefined ? outputNames(task) : [stage.as];
    const taken = gives.find((name) => known.has(name));
    if (taken !== undefined) {
      const place = stage.as === undefined ? pointer : `${pointer}/as`;
      mistakes.push({ pointer: place, message: `would write over ${JSON.stringify(taken)} of ${known.get(taken)}. Give its output a name of its own: "as": ${JSON.stringify(freeName(stage.task, known))}`, value: stage.as ?? stage });
    }
    for (const name of gives) if (!known.has(name)) known.set(name, pointer);
  });
  return mistakes;
}

function whereLater(name: string, before: number, stages: readonly DocumentStage[], tasks: ReadonlyMap<string, TaskPlugin>): string | undefined {
  const later = stages.findIndex((stage, i) => i > before && (stage.as === undefined ? outputNames(tasks.get(stage.task)!).includes(name) : stage.as === name));
  return later < 0 ? undefined : `/stages/${later} gives ${JSON.stringify(name)}, but only after it: exchange them`;
}

function freeName(task: string, known: ReadonlyMap<string, string>): string {
  for (let i = 1; ; i++) {
    const name = i === 1 ? task : `${task}${i}`;
    if (!known.has(name)) return name;
  }
}

function outputNames({ output }: TaskPlugin): readonly string[] {
  const properties = output['properties'];
  return typeof properties === 'object' && properties !== null ? Object.keys(properties) : [];
}

/** Inputs that a task cannot do without. A task that takes an image by itself needs one. */
function neededOf({ input }: TaskPlugin): readonly string[] {
  const required: unknown = input['required'];
  const types: unknown = input['type'];
  const isImage = Array.isArray(types) && types.includes('string');
  return [...(isImage ? ['image'] : []), ...(Array.isArray(required) ? required.filter((name) => typeof name === 'string') : [])];
}

/** Fields that every item of a source has. */
function sourceFields(source: DocumentSource): readonly string[] {
  if ('folder' in source) return ['image'];
  if ('jsonl' in source) return [];
  const [first = [], ...others] = source.list.map((item) => (typeof item === 'string' ? ['image'] : Object.keys(item)));
  return first.filter((field) => others.every((fields) => fields.includes(field)));
}
