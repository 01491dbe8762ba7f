/** A recipe as an rxjs flow: cold, subscribed or iterated, and stopped by unsubscribing. */
import type { Flow } from '@querent/core';
import { from } from '@querent/core';
import type { Recipe, RecipeEvent, TrainRecipeOptions } from './train-recipe.ts';
import { trainRecipe } from './train-recipe.ts';

/**
 * The events of {@link trainRecipe} as a Flow. Nothing happens before somebody subscribes; unsubscribing stops the run after
 * the step in hand, whose checkpoint is kept, so that the next subscriber goes on from there.
 *
 * @example
 * const losses$ = trainingFlow(recipe, options).pipe(filter((event) => event.type === 'step'), map((event) => event.loss));
 */
export function trainingFlow(recipe: Recipe, options: TrainRecipeOptions): Flow<RecipeEvent> {
  return from({ [Symbol.asyncIterator]: () => trainRecipe(recipe, options) });
}
