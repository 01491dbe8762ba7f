/**
 * A model on disk in HuggingFace's layout: `config.json`, `model.safetensors` (or its index and shards), `tokenizer.json`,
 * `preprocessor_config.json`, `generation_config.json`. A part of the config (`vision_config`, `qformer_config`,
 * `text_config`) may say `from: "../other-folder"`: that folder's config and weights are then the part's, so that a frozen
 * part is stored once. A language model may be a `.gguf` file, or a folder that holds one and no `config.json`. Saving is in `model-folder-save.ts`.
 */
import { readdir, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { QuerentError, type FileTensor } from '@querent/core';
import { errnoOf, fileError } from './file-error.ts';
import { readGgufModel } from './gguf-model.ts';
import { isJsonObject, readJsonObject, readJsonObjectIfThere, type JsonObject } from './json-file.ts';
import { parseRepoName } from './remote/repo-name.ts';
import { resolveModel } from './remote/repository.ts';
import type { HubOptions } from './remote/settings.ts';
import { readSafetensors, refusePickle } from './safetensors.ts';

/** Parts of a config that may come from another folder, and how their tensors begin in the whole model's checkpoint. */
export const PART_PREFIXES: Readonly<Record<string, string>> = {
  vision_config: 'vision_model.',
  text_config: 'language_model.',
  qformer_config: '',
};

/** How an encoder's tensors begin where HF published it inside a classifier (`base_model_prefix` of ViTForImageClassification and the like), by `model_type`. */
const CLASSIFIER_PREFIXES: ReadonlyMap<unknown, string> = new Map([
  ['vit', 'vit.'],
  ['dinov2', 'dinov2.'],
]);

export interface ModelFolder {
  readonly path: string;
  /** `config.json` with each part's `from` resolved and taken out. */
  readonly config: JsonObject;
  /** Its own, or the vision part's. */
  readonly preprocessorConfig?: JsonObject;
  /** Its own, or the text part's. */
  readonly generationConfig?: JsonObject;
  /** Its own `tokenizer.json`, or the text part's. */
  readonly tokenizerFile?: string;
  /** All tensors under the whole model's names; its own come before a part's where both have one. */
  readonly parameters: ReadonlyMap<string, FileTensor>;
  /** Folders that parts came from, by the part's key. */
  readonly parts: ReadonlyMap<string, ModelFolder>;
}

/** A part after `from` was followed. */
export interface ResolvedPart {
  /** The folder's config (or that part of it), overridden by what stands beside `from`. */
  readonly config: JsonObject;
  /** Tensors under the whole model's names. */
  readonly parameters: ReadonlyMap<string, FileTensor>;
  readonly folder?: ModelFolder;
}

/**
 * Reads a model folder: documents and headers, no weights.
 * @param name a folder, or a name on the hub (`org/name`, `org/name@revision`), which is fetched when no cache has it
 * @throws QuerentError QRT_FILE when something is not there, QRT_CONFIG_UNREADABLE, QRT_CONFIG_INVALID for a bad or circular
 *   `from`, QRT_CHECKPOINT_FORMAT for damaged weights and pickles; QRT_HUB_… as `resolveModel` does.
 */
export function openModelFolder(name: string, options: HubOptions = {}): Promise<ModelFolder> {
  return openWithin(name, { chain: [], isOurs: true, options });
}

/**
 * Follows the `from` of a part's config; without one the config is given back.
 * @param key the part, for instance `text_config`
 * @param baseDir the folder of the document that holds the config
 */
export function resolveFrom(key: string, partConfig: JsonObject, baseDir: string, options: HubOptions = {}): Promise<ResolvedPart> {
  return resolveWithin(key, partConfig, baseDir, { chain: [], isOurs: true, options });
}

/** Folders that lead to a part through `from`, one after the other. */
const DEPTH_LIMIT = 6;

/** How a folder was come to. */
interface Way {
  /** Real paths of the folders that led here. */
  readonly chain: readonly string[];
  /** Is the document a local one? A stranger's from the hub may not point into this machine. */
  readonly isOurs: boolean;
  readonly options: HubOptions;
}

async function openWithin(name: string, way: Way): Promise<ModelFolder> {
  const { chain, options } = way;
  const { folder: path, source } = await resolveModel(name, options);
  const isOurs = way.isOurs && source === 'local';
  const gguf = await ggufOf(path);
  if (gguf !== undefined) return openGguf(gguf);
  const real = await realFolder(path);
  const document = await readJsonObject(join(path, 'config.json'));
  const config: Record<string, unknown> = { ...document };
  const parameters = new Map<string, FileTensor>();
  const parts = new Map<string, ModelFolder>();
  for (const key of Object.keys(PART_PREFIXES)) {
    const partConfig = document[key];
    if (!isJsonObject(partConfig) || partConfig['from'] === undefined) continue;
    const part = await resolveWithin(key, partConfig, path, { chain: [...chain, real], isOurs, options });
    config[key] = part.config;
    for (const [name, tensor] of part.parameters) parameters.set(name, tensor);
    if (part.folder !== undefined) parts.set(key, part.folder);
  }
  const weights = await weightFile(path);
  if (weights !== undefined) {
    for (const [name, tensor] of (await readSafetensors(weights)).tensors) parameters.set(name, tensor);
  } else if (parts.size === 0 && typeof document['file'] !== 'string') {
    // A config that names a `file` has its weights in there: an encoder that is an .onnx file, which who loads it opens.
    throw new QuerentError('QRT_FILE', `${path} has no model.safetensors and no model.safetensors.index.json.`, {
      fix: 'Check that the download is complete, or name the folder that holds the weights.',
      details: { folder: path },
    });
  }

  const preprocessorConfig = (await readJsonObjectIfThere(join(path, 'preprocessor_config.json'))) ?? parts.get('vision_config')?.preprocessorConfig;
  const generationConfig = (await readJsonObjectIfThere(join(path, 'generation_config.json'))) ?? parts.get('text_config')?.generationConfig;
  const ownTokenizer = join(path, 'tokenizer.json');
  const tokenizerFile = (await exists(ownTokenizer)) ? ownTokenizer : parts.get('text_config')?.tokenizerFile;
  return {
    path,
    config,
    ...(preprocessorConfig === undefined ? {} : { preprocessorConfig }),
    ...(generationConfig === undefined ? {} : { generationConfig }),
    ...(tokenizerFile === undefined ? {} : { tokenizerFile }),
    parameters,
    parts,
  };
}

async function resolveWithin(key: string, partConfig: JsonObject, baseDir: string, { chain, isOurs, options }: Way): Promise<ResolvedPart> {
  const { from, ...own } = partConfig;
  if (from === undefined) return { config: own, parameters: new Map() };
  const bad = (what: string, fix: string): QuerentError =>
    new QuerentError('QRT_CONFIG_INVALID', `${join(baseDir, 'config.json')} ${key}.from: ${what}.`, { fix, details: { key, from, baseDir } });
  if (typeof from !== 'string' || from === '') throw bad(`${JSON.stringify(from)} is no path`, 'Give the path of a model folder, relative to this file, or a name on the hub.');
  const path = isAbsolute(from) ? from : join(baseDir, from);
  const isRemote = parseRepoName(from) !== undefined && !(isOurs && (await exists(path)));
  if (!isRemote && !isOurs) throw bad(`a config from the hub names ${JSON.stringify(from)}, which is not on the hub`, 'Only a folder of your own may name other folders.');
  if (!isRemote && !(await exists(path))) throw bad(`there is no folder ${path}`, 'Paths are relative to the config.json that names them; org/name is a model on the hub.');
  if (chain.length > DEPTH_LIMIT) throw bad(`more than ${DEPTH_LIMIT} folders point to one another`, 'Name the folder that holds the weights.');
  const found = isRemote ? (await resolveModel(from, options)).folder : path;
  const real = (await ggufOf(found)) ?? (await realFolder(found));
  if (chain.includes(real)) throw bad(`${from} leads in a circle (${[...chain, real].join(' → ')})`, 'Let one of these folders hold the part itself.');

  const folder = await openWithin(found, { chain, isOurs: isOurs && !isRemote, options });
  const prefix = PART_PREFIXES[key] ?? '';
  const inner = folder.config[key];
  // A whole model that has this part gives it and its tensors as they are named; a folder that is the part gets the prefix.
  const config = isJsonObject(inner) ? inner : folder.config;
  const others = Object.values(PART_PREFIXES).filter((other) => other !== '' && other !== prefix);
  const classifier = key === 'vision_config' && !isJsonObject(inner) ? CLASSIFIER_PREFIXES.get(config['model_type']) : undefined;
  const parameters = new Map<string, FileTensor>();
  for (const [stored, tensor] of folder.parameters) {
    const name = classifier !== undefined && stored.startsWith(classifier) ? stored.slice(classifier.length) : stored;
    if (isJsonObject(inner) && (prefix === '' ? others.some((other) => name.startsWith(other)) : !name.startsWith(prefix))) continue;
    parameters.set(name.startsWith(prefix) ? name : prefix + name, tensor);
  }
  return { config: { ...config, ...own }, parameters, folder };
}

/** The `.gguf` file that a path is, or that is alone in a folder without a `config.json`. */
async function ggufOf(path: string): Promise<string | undefined> {
  if (/\.gguf$/i.test(path)) return path;
  const names = await readdir(path).catch((): string[] => []); // what is wrong with it is told by who opens it
  const [file, ...more] = names.filter((name) => /\.gguf$/i.test(name));
  return file === undefined || more.length > 0 || names.includes('config.json') ? undefined : join(path, file);
}

/** A language model in one file; a `tokenizer.json` beside it is taken before the one inside. */
async function openGguf(file: string): Promise<ModelFolder> {
  const { config, generationConfig, parameters } = await readGgufModel(file);
  const beside = join(dirname(file), 'tokenizer.json');
  return { path: file, config, generationConfig, tokenizerFile: (await exists(beside)) ? beside : file, parameters, parts: new Map() };
}

/** The one file to read weights from; undefined when the folder has none. */
async function weightFile(folder: string): Promise<string | undefined> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw fileError('read', folder, cause);
  });
  for (const name of ['model.safetensors', 'model.safetensors.index.json']) if (names.includes(name)) return join(folder, name);
  for (const name of names) if (/^(pytorch_model|model|adapter_model).*\.(bin|pt|pth|ckpt)$/.test(name)) refusePickle(join(folder, name));
  return undefined;
}

async function realFolder(path: string): Promise<string> {
  try {
    const real = await realpath(resolve(path));
    if (!(await stat(real)).isDirectory()) {
      throw new QuerentError('QRT_FILE', `${path} is not a folder.`, { fix: 'Name the folder that holds config.json.', details: { folder: path } });
    }
    return real;
  } catch (cause) {
    throw errnoOf(cause) === undefined || cause instanceof QuerentError ? cause : fileError('open the model folder', path, cause);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
