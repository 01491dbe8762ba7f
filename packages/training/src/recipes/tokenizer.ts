/** The vocabulary, learnt from the same captions as the language models: one list of tokens, one file per template. */
import type { JsonSchema } from '@querent/core';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { trainByteLevelBpe, writeFileAtomic } from '@querent/hub';
import type { TextSource } from './language-model.ts';
import { readCaptions, textSourceSchema } from './language-model.ts';
import { sourceProperties } from './common.ts';

export interface TokenizerRecipe {
  readonly kind: 'tokenizer';
  readonly vocabSize: number;
  /** They get the ids 0, 1, … */
  readonly specialTokens: readonly string[];
  readonly text: TextSource;
  /** Folder name → template such as `<s> $A`; each gets the same vocabulary. */
  readonly templates: Readonly<Record<string, string>>;
}

export const tokenizerRecipeSchema: JsonSchema = {
  type: 'object',
  properties: {
    $schema: sourceProperties.$schema,
    kind: { const: 'tokenizer', description: 'Learns a vocabulary.' },
    vocabSize: { type: 'integer', minimum: 300, description: 'Tokens in all: special ones, 256 bytes, merges.' },
    specialTokens: { type: 'array', items: { type: 'string', minLength: 1 }, description: 'They get the ids 0, 1, …' },
    text: textSourceSchema,
    templates: { type: 'object', description: 'Folder name → template such as `<s> $A`; each gets the same vocabulary.', additionalProperties: { type: 'string' }, minProperties: 1 },
  },
  required: ['kind', 'vocabSize', 'specialTokens', 'text', 'templates'],
  additionalProperties: false,
};

/** Learns the vocabulary and writes `<out>/<template's name>/tokenizer.json` for each template. */
export async function trainTokenizer(recipe: TokenizerRecipe, dataFolder: string, out: string): Promise<readonly string[]> {
  const captions = await readCaptions(recipe.text, dataFolder);
  const files: string[] = [];
  for (const [name, template] of Object.entries(recipe.templates)) {
    const json = trainByteLevelBpe(captions, {
      vocabSize: recipe.vocabSize,
      specialTokens: recipe.specialTokens,
      lowercase: true,
      keep: 'letters-digits-apostrophe',
      template,
    });
    const folder = join(out, name);
    await mkdir(folder, { recursive: true });
    const file = join(folder, 'tokenizer.json');
    await writeFileAtomic(file, JSON.stringify(json));
    files.push(file);
  }
  return files;
}
