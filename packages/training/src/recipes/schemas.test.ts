import { readFileSync, readdirSync } from 'node:fs';
import { findMistakes, isQuerentError, validate } from '@querent/core';
import { describe, expect, it } from 'vitest';
import { FINETUNE_RECIPE, LANGUAGE_MODEL_RECIPE, STAGE1_RECIPE, STAGE2_RECIPE } from '../tiny-world.test-helper.ts';
import { recipeKeysMarkdown, schemaFiles, withGenerated } from './schema-files.ts';
import { recipeSchemas } from './schemas.ts';

const SCHEMA = new URL('../../schema/', import.meta.url);
const RECIPES = new URL('../../../../recipes/', import.meta.url);
const DOCS = new URL('../../../../docs/training.md', import.meta.url);

describe('generated files', () => {
  it('are those that the schemas make now (node packages/training/scripts/write-schemas.mjs)', () => {
    for (const [name, text] of schemaFiles()) expect([name, readFileSync(new URL(name, SCHEMA), 'utf8')]).toEqual([name, text]);
    expect(readdirSync(SCHEMA).sort()).toEqual([...schemaFiles().keys()].sort());
  });

  it('include the tables of docs/training.md', () => {
    const docs = readFileSync(DOCS, 'utf8');
    expect(withGenerated(docs, recipeKeysMarkdown())).toBe(docs);
    expect(() => withGenerated('no marks', '')).toThrow(RangeError);
  });
});

it('accepts every recipe of the repository', () => {
  const names = readdirSync(RECIPES).filter((name) => name.endsWith('.json'));
  expect(names.length).toBeGreaterThan(4);
  for (const name of names) {
    const recipe = JSON.parse(readFileSync(new URL(name, RECIPES), 'utf8')) as { readonly kind: string }; // our own files
    const schema = recipeSchemas[recipe.kind];
    if (schema !== undefined) expect([name, findMistakes(schema, recipe)]).toEqual([name, []]);
  }
});

it('says of every key what it is', () => {
  for (const [kind, schema] of Object.entries(recipeSchemas)) {
    for (const [key, property] of Object.entries(schema['properties'] as Readonly<Record<string, { readonly description?: string }>>)) {
      expect([kind, key, (property.description ?? '').length > 5]).toEqual([kind, key, true]);
    }
  }
});

it('finds a wrong key and says which was meant', () => {
  for (const given of [LANGUAGE_MODEL_RECIPE, STAGE1_RECIPE, STAGE2_RECIPE, { ...FINETUNE_RECIPE, objective: 'caption' }]) {
    const schema = recipeSchemas[given.kind]!;
    expect(findMistakes(schema, given)).toEqual([]);
    try {
      validate(schema, { ...given, optimizer: given.optimiser }, { file: 'recipe.json' });
      expect.unreachable();
    } catch (error) {
      expect(isQuerentError(error) && error.code).toBe('QRT_CONFIG_INVALID');
      expect(String(error)).toContain('optimiser');
    }
  }
});

it('refuses numbers that no run can have', () => {
  const wrong = (change: object): string[] => findMistakes(recipeSchemas['stage1']!, { ...STAGE1_RECIPE, ...change }).map((mistake) => mistake.pointer);
  expect(wrong({ batch: 0 })).toEqual(['/batch']);
  expect(wrong({ epochs: -1, seed: 1.5 })).toEqual(expect.arrayContaining(['/epochs', '/seed']));
  expect(wrong({ averageDecay: 1 })).toEqual(['/averageDecay']);
  expect(wrong({ schedule: { type: 'linear' } })).toEqual(['/schedule']);
});
