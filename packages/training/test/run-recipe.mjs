/**
 * Trains one recipe with the built packages, in a process of its own: `node run-recipe.mjs OPTIONS`, where OPTIONS is JSON
 * `{ recipe, folder, out }`. Prints one line a step, so that a test knows when to kill it. Used by train-recipe.test.ts.
 */
import { join } from 'node:path';
import { encoderPlugins } from '@querent/encoders';
import { createOnnxEngine } from '@querent/engine-onnx';
import { languageModels } from '@querent/llm-adapters';
import { qformerPlugins } from '@querent/qformer';
import { trainRecipe } from '@querent/training';

const { recipe, folder, out } = JSON.parse(process.argv[2] ?? '{}');
const byName = (plugins) => (name) => plugins.find((plugin) => plugin.name === name);
const engine = createOnnxEngine({ threads: 1 });
const events = trainRecipe(recipe, {
  recipeFolder: folder,
  dataFolder: folder,
  out,
  cacheFolder: join(out, 'cache'),
  engine,
  plugins: { encoder: byName(encoderPlugins), bridge: byName(qformerPlugins), languageModel: byName(languageModels) },
});
for await (const event of events) process.stdout.write(`${event.type} ${event.step ?? ''}\n`);
await engine[Symbol.asyncDispose]();
