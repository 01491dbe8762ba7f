/** The JSON Schema of each kind of recipe, by the recipe's `kind`. */
import type { JsonSchema } from '@querent/core';
import { selfCriticalRecipeSchema, stage1RecipeSchema, stage2RecipeSchema } from './bridge-recipe.ts';
import { distilRecipeSchema } from './distil.ts';
import { finetuneRecipeSchema } from './finetune.ts';
import { languageModelRecipeSchema } from './language-model.ts';
import { maskedLanguageModelRecipeSchema } from './masked-language-model.ts';
import { tokenizerRecipeSchema } from './tokenizer.ts';
import { vqaRecipeSchema } from './vqa.ts';

export const recipeSchemas: Readonly<Record<string, JsonSchema>> = {
  tokenizer: tokenizerRecipeSchema,
  'language-model': languageModelRecipeSchema,
  'masked-language-model': maskedLanguageModelRecipeSchema,
  distil: distilRecipeSchema,
  stage1: stage1RecipeSchema,
  stage2: stage2RecipeSchema,
  scst: selfCriticalRecipeSchema,
  finetune: finetuneRecipeSchema,
  vqa: vqaRecipeSchema,
};
