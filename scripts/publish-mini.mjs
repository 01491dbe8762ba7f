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
import { loadTensors, openModelFolder, saveModelFolder } from '@querent/hub';

const root = fileURLToPath(new URL('..', import.meta.url));
const runs = resolve(root, process.argv[2] ?? 'runs');
const models = join(root, 'models');
/** Beams and length exponents were chosen on the validation split. */
const decoding = (length_penalty) => ({ num_beams: 3, length_penalty, max_new_tokens: 24 });

/** Bridges with what they are put between. */
const PARTS = [
  { run: 'mini-lm-longer', model: 'querent-mini-lm' },
  { run: 'mini-t5', model: 'querent-mini-t5-lm' },
  { run: 'mini-retrieval-longer', model: 'querent-mini-retrieval', encoder: 'efficientnet-lite0' },
  // Between runs (mix-runs.mjs): better than any of them; the shares were chosen on val.
  { run: 'mini-final', model: 'querent-mini', encoder: 'efficientnet-lite0', language: 'querent-mini-lm', generation: decoding(0.85) },
  { run: 'mini-stage2-finer-t5', model: 'querent-mini-t5', encoder: 'efficientnet-lite0', language: 'querent-mini-t5-lm', generation: decoding(1) },
];

for (const { run, model, encoder, language, generation } of PARTS) {
  const source = join(runs, run, 'model');
  if (!(await stat(source).catch(() => undefined))) {
    console.log(`${model}: no ${run}, left as it is`);
    continue;
  }
  const raw = JSON.parse(await readFile(join(source, 'config.json'), 'utf8'));
  const config = {
    ...raw,
    ...(encoder === undefined ? {} : { vision_config: { ...raw.vision_config, from: `../${encoder}` } }),
    ...(language === undefined ? {} : { text_config: { from: `../${language}` } }),
  };
  const folder = await openModelFolder(source);
  const own = new Map([...folder.parameters].filter(([name]) => encoder === undefined || !/^(vision_model|language_model)\./.test(name)));
  const weights = await loadTensors(own);
  await saveModelFolder(join(models, model), {
    config,
    parameters: weights,
    dtype: 'float16',
    ...(folder.tokenizerFile === undefined || language !== undefined ? {} : { tokenizer: folder.tokenizerFile }),
    ...(generation === undefined ? {} : { generationConfig: generation }),
  });
  const { size } = await stat(join(models, model, 'model.safetensors'));
  console.log(`${model}: ${own.size} tensors, ${(size / 1e6).toFixed(2)} MB`);
}
