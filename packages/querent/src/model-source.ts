/**
 * Where a model comes from: a folder, or a recipe written in the call. Either way the result is a config with each part's `from`
 * followed, the tensors under the whole model's names, and for each part the document that a mistake is to be mended in.
 */
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { FileTensor, Recipe } from '@querent/core';
import { parseRecipe } from '@querent/core';
import type { HubOptions, JsonObject, ModelFolder } from '@querent/hub';
import { blipAsParts } from './blip-folder.ts';
import { PART_PREFIXES, isJsonObject, openModelFolder, resolveFrom } from '@querent/hub';

/** A part of a config. */
export type PartKey = 'vision_config' | 'qformer_config' | 'text_config';

/** A model's config written in a call: a part that has `from` may leave out everything else. */
export interface RecipeObject {
  readonly vision_config: JsonObject;
  readonly qformer_config: JsonObject;
  readonly text_config?: JsonObject;
  readonly [key: string]: unknown;
}

/** Where a part's config is written. */
export interface PartOrigin {
  /** The document, for messages; absent for a recipe in a call. */
  readonly file?: string;
  /** JSON pointer within it. */
  readonly at: string;
  /** The folder that holds the part's weights. */
  readonly folder: string;
}

export interface ModelSource {
  /** What it was asked for as. */
  readonly name: string;
  readonly recipe: Recipe;
  readonly parameters: ReadonlyMap<string, FileTensor>;
  readonly origins: Readonly<Record<PartKey, PartOrigin>>;
  readonly preprocessorConfig?: JsonObject;
  readonly generationConfig?: JsonObject;
  /** `tokenizer.json` of the language model, and of the bridge. */
  readonly languageTokenizer?: string;
  readonly bridgeTokenizer?: string;
  /** May the bridge be drawn at random where its weights are nowhere? A recipe's, to be trained. */
  readonly mayDrawBridge: boolean;
}

/**
 * Reads documents and headers, no weights.
 *
 * @param from a folder, a name on the hub, or a recipe
 * @throws QuerentError QRT_FILE, QRT_CONFIG_UNREADABLE, QRT_CONFIG_INVALID, QRT_CHECKPOINT_FORMAT; QRT_HUB_… when it is fetched.
 */
export async function openSource(from: string | RecipeObject, baseDir: string, options: HubOptions = {}): Promise<ModelSource> {
  return typeof from === 'string' ? openFolder(from, options) : openRecipe(from, baseDir, options);
}

async function openFolder(name: string, options: HubOptions): Promise<ModelSource> {
  const folder = blipAsParts(await openModelFolder(name, options));
  const { path } = folder;
  const file = join(path, 'config.json');
  const recipe = parseRecipe(folder.config, { file });
  const origin = (key: PartKey): PartOrigin => originOf(key, folder.parts.get(key)) ?? { file, at: `/${key}`, folder: path };
  const own = folder.tokenizerFile;
  return source(path, recipe, folder.parameters, folder.parts, origin, false, {
    ...(folder.preprocessorConfig === undefined ? {} : { preprocessorConfig: folder.preprocessorConfig }),
    ...(folder.generationConfig === undefined ? {} : { generationConfig: folder.generationConfig }),
    ...(own === undefined ? {} : { tokenizer: own }),
  });
}

async function openRecipe(document: RecipeObject, baseDir: string, options: HubOptions): Promise<ModelSource> {
  const config: Record<string, unknown> = { ...document };
  const parameters = new Map<string, FileTensor>();
  const parts = new Map<string, ModelFolder>();
  for (const key of Object.keys(PART_PREFIXES)) {
    const given = document[key];
    if (!isJsonObject(given)) continue;
    const part = await resolveFrom(key, given, baseDir, options);
    config[key] = part.config;
    for (const [name, tensor] of part.parameters) parameters.set(name, tensor);
    if (part.folder !== undefined) parts.set(key, part.folder);
  }
  const recipe = parseRecipe(config, { what: 'the recipe' });
  const origin = (key: PartKey): PartOrigin => originOf(key, parts.get(key)) ?? { at: `/${key}`, folder: resolve(baseDir) };
  const preprocessorConfig = parts.get('vision_config')?.preprocessorConfig;
  const generationConfig = parts.get('text_config')?.generationConfig;
  return source('the recipe', recipe, parameters, parts, origin, true, {
    ...(preprocessorConfig === undefined ? {} : { preprocessorConfig }),
    ...(generationConfig === undefined ? {} : { generationConfig }),
  });
}

/** The document of a part that comes from another folder: that folder's, which may be a whole model's. */
function originOf(key: PartKey, folder: ModelFolder | undefined): PartOrigin | undefined {
  if (folder === undefined) return undefined;
  return { file: join(folder.path, 'config.json'), at: isJsonObject(folder.config[key]) ? `/${key}` : '', folder: folder.path };
}

async function source(
  name: string,
  recipe: Recipe,
  parameters: ReadonlyMap<string, FileTensor>,
  parts: ReadonlyMap<string, ModelFolder>,
  origin: (key: PartKey) => PartOrigin,
  mayDrawBridge: boolean,
  documents: Pick<ModelSource, 'preprocessorConfig' | 'generationConfig'> & { readonly tokenizer?: string },
): Promise<ModelSource> {
  const { tokenizer, ...rest } = documents;
  // A folder's own tokenizer.json is the language model's, or the bridge's where there is none; a part's folder knows its own best.
  // Where both have one, transformers keeps the bridge's in a folder of its own (InstructBlipProcessor).
  const languageTokenizer = parts.get('text_config')?.tokenizerFile ?? tokenizer;
  const bridgeFolder = origin('qformer_config').folder;
  const instructTokenizer = join(bridgeFolder, 'qformer_tokenizer', 'tokenizer.json');
  const hasOwn = await stat(instructTokenizer).then((found) => found.isFile(), () => false);
  const bridgeTokenizer = hasOwn ? instructTokenizer : (parts.get('qformer_config')?.tokenizerFile ?? tokenizer);
  return {
    name,
    recipe,
    parameters,
    origins: { vision_config: origin('vision_config'), qformer_config: origin('qformer_config'), text_config: origin('text_config') },
    ...rest,
    ...(languageTokenizer === undefined ? {} : { languageTokenizer }),
    ...(bridgeTokenizer === undefined ? {} : { bridgeTokenizer }),
    mayDrawBridge,
  };
}
