/**
 * Saves a model folder as a whole: everything is written to a hidden folder beside it, which then takes its name. A
 * failure on the way leaves the old folder as it was and nothing else.
 */
import { mkdir, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { QuerentError, isQuerentError, type ParameterSet } from '@querent/core';
import { errnoOf, fileError } from './file-error.ts';
import { syncFolder, temporaryBeside, writeFileAtomic } from './file-write.ts';
import type { JsonObject } from './json-file.ts';
import { writeSafetensors, type StoredDType } from './safetensors-write.ts';

export interface SaveModelOptions {
  /** `config.json`. A part's `from` is relative to the folder that is saved. */
  readonly config: object;
  /** Under their HuggingFace names. */
  readonly parameters: ParameterSet;
  /** How floating-point tensors are stored; each in its own dtype when absent. */
  readonly dtype?: StoredDType;
  /** A `tokenizer.json` to copy, with the documents beside it that belong to it; or the document itself. */
  readonly tokenizer?: string | object;
  /** `tokenizer_config.json`, with the roles of special tokens. */
  readonly tokenizerConfig?: JsonObject;
  readonly preprocessorConfig?: object;
  readonly generationConfig?: object;
  /** The model card: `README.md`. */
  readonly card?: string;
}

/** What a save replaces; other files of an existing folder are kept. */
const OWNED = /^(config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|preprocessor_config\.json|generation_config\.json)$/;

/**
 * Writes or replaces the folder `path`.
 * @throws QuerentError QRT_FILE with the cause and the way out; then nothing half-written is left.
 */
export async function saveModelFolder(path: string, options: SaveModelOptions): Promise<void> {
  const fresh = temporaryBeside(path);
  try {
    await mkdir(fresh, { recursive: true });
    await writeFiles(fresh, options);
    await takePlace(path, fresh);
  } catch (cause) {
    await rm(fresh, { recursive: true, force: true }).catch(() => undefined); // the first error is the one worth telling
    throw isQuerentError(cause) ? underItsName(cause, fresh, path) : fileError('save the model', path, cause);
  }
  await syncFolder(dirname(path));
}

/** The error with the folder that the caller knows in place of the hidden one. */
function underItsName(error: QuerentError, hidden: string, path: string): QuerentError {
  if (!error.message.includes(hidden)) return error;
  return new QuerentError(error.code, error.message.replaceAll(hidden, path), {
    ...(error.fix === undefined ? {} : { fix: error.fix }),
    details: { folder: path },
    cause: error.cause,
  });
}

async function writeFiles(folder: string, options: SaveModelOptions): Promise<void> {
  await writeSafetensors(join(folder, 'model.safetensors'), options.parameters, options.dtype === undefined ? {} : { dtype: options.dtype });
  const { tokenizer } = options;
  if (typeof tokenizer === 'string') {
    await writeFileAtomic(join(folder, 'tokenizer.json'), await read(tokenizer));
    for (const name of ['tokenizer_config.json', 'special_tokens_map.json']) {
      const beside = join(dirname(tokenizer), name);
      if (await isThere(beside)) await writeFileAtomic(join(folder, name), await read(beside));
    }
  } else if (tokenizer !== undefined) {
    await writeFileAtomic(join(folder, 'tokenizer.json'), `${JSON.stringify(tokenizer)}\n`);
  }
  const documents: Readonly<Record<string, object | undefined>> = {
    'tokenizer_config.json': options.tokenizerConfig,
    'preprocessor_config.json': options.preprocessorConfig,
    'generation_config.json': options.generationConfig,
    'config.json': options.config,
  };
  for (const [name, document] of Object.entries(documents)) {
    if (document !== undefined) await writeFileAtomic(join(folder, name), `${JSON.stringify(document, null, 2)}\n`);
  }
  if (options.card !== undefined) await writeFileAtomic(join(folder, 'README.md'), options.card);
}

/** `fresh` becomes `path`. An old folder steps aside first; it comes back if the second rename fails. */
async function takePlace(path: string, fresh: string): Promise<void> {
  if (!(await isThere(path))) return rename(fresh, path);
  const old = temporaryBeside(path);
  await rename(path, old);
  try {
    await rename(fresh, path);
  } catch (cause) {
    await rename(old, path);
    throw cause;
  }
  const written = new Set(await readdir(path));
  for (const name of await readdir(old)) {
    if (!OWNED.test(name) && !written.has(name)) await rename(join(old, name), join(path, name));
  }
  await rm(old, { recursive: true, force: true });
}

async function read(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw fileError('read', file, cause);
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return false;
    throw cause;
  }
}
