/**
 * Makes models/efficientnet-lite0 from the published weights: the tensors of the 320-channel feature map, in fp16.
 *
 *     node scripts/import-efficientnet-lite0.mjs FOLDER_WITH_PUBLISHED_SAFETENSORS
 *
 * Run `npm run build` first. The origin's checksum is checked and noted in the folder's README.
 */
import { createHash } from 'node:crypto';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadTensors, readSafetensors, writeFileAtomic, writeSafetensors } from '@querent/hub';

const [source] = process.argv.slice(2);
if (source === undefined) throw new Error('usage: node scripts/import-efficientnet-lite0.mjs FOLDER');
const target = fileURLToPath(new URL('../models/efficientnet-lite0', import.meta.url));
const file = join(source, 'model.safetensors');
const sha256 = createHash('sha256').update(await readFile(file)).digest('hex');

const { tensors } = await readSafetensors(file);
const isNeeded = (name) => !/^(_conv_head|_bn1|_fc)\b/.test(name) && !name.endsWith('num_batches_tracked');
const kept = new Map([...tensors].filter(([name]) => isNeeded(name)));
await writeSafetensors(join(target, 'model.safetensors'), await loadTensors(kept), { dtype: 'float16' });
await copyFile(join(source, 'LICENSE.txt'), join(target, 'LICENSE.txt'));
await writeFileAtomic(
  join(target, 'config.json'),
  `${JSON.stringify({ model_type: 'efficientnet-lite0', image_size: 224, features: 'block15' }, null, 2)}\n`,
);
console.log(`${kept.size} of ${tensors.size} tensors; origin sha256 ${sha256}`);
