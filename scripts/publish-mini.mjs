/**
 * From the runs of recipes/mini-*.json to the folders under models/: fp16, frozen parts once, named by `from`.
 *
 *     node scripts/publish-mini.mjs [RUNS]        (default: runs)
 *
 * Run `npm run build` first. Which commands made the runs stands in models/querent-mini/README.md.
 */
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { asFloat32, loadTensors, openModelFolder, readSafetensors, saveModelFolder } from '@querent/hub';

const root = fileURLToPath(new URL('..', import.meta.url));
const runs = resolve(root, process.argv[2] ?? 'runs');
const models = join(root, 'models');
/** Beam 3 with a length exponent of 0.7 was chosen on the validation split. */
const generation = { num_beams: 3, length_penalty: 0.7, max_new_tokens: 24 };

/** Bridges with what they are put between. */
const PARTS = [
  { run: 'mini-lm-longer', model: 'querent-mini-lm' },
  { run: 'mini-t5', model: 'querent-mini-t5-lm' },
  { run: 'mini-retrieval-longer', model: 'querent-mini-retrieval', encoder: 'efficientnet-lite0' },
  // Between stage 2 and the self-critical run that went on from it (Wortsman 2022): better than either; the share was chosen on val.
  { run: 'mini-stage2-longer', toward: { run: 'mini-scst', share: 0.4 }, model: 'querent-mini', encoder: 'efficientnet-lite0', language: 'querent-mini-lm' },
  { run: 'mini-stage2-t5', model: 'querent-mini-t5', encoder: 'efficientnet-lite0', language: 'querent-mini-t5-lm' },
];

/** `(1 - share) · a + share · b`, tensor by tensor. */
async function between(a, { run, share }) {
  const b = await loadTensors((await readSafetensors(join(runs, run, 'model', 'model.safetensors'))).tensors);
  return new Map(
    [...a].map(([name, tensor]) => {
      const [from, to] = [asFloat32(tensor), asFloat32(b.get(name))];
      return [name, { ...from, data: from.data.map((value, i) => value * (1 - share) + to.data[i] * share) }];
    }),
  );
}

for (const { run, toward, model, encoder, language } of PARTS) {
  const source = join(runs, run, 'model');
  if (!(await stat(source).catch(() => undefined))) {
    console.log(`${model}: no ${run}, left as it is`);
    continue;
  }
  const raw = JSON.parse(await readFile(join(source, 'config.json'), 'utf8'));
  const config = {
    ...raw,
    ...(encoder === undefined ? {} : { vision_config: { from: `../${encoder}` } }),
    ...(language === undefined ? {} : { text_config: { from: `../${language}` } }),
  };
  const folder = await openModelFolder(source);
  const own = new Map([...folder.parameters].filter(([name]) => encoder === undefined || !/^(vision_model|language_model)\./.test(name)));
  const weights = await loadTensors(own);
  await saveModelFolder(join(models, model), {
    config,
    parameters: toward === undefined ? weights : await between(weights, toward),
    dtype: 'float16',
    ...(folder.tokenizerFile === undefined || language !== undefined ? {} : { tokenizer: folder.tokenizerFile }),
    ...(language === undefined ? {} : { generationConfig: generation }),
  });
  const { size } = await stat(join(models, model, 'model.safetensors'));
  console.log(`${model}: ${own.size} tensors, ${(size / 1e6).toFixed(2)} MB`);
}
