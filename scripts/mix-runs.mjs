/**
 * The weights between two runs of one model (Wortsman 2022): often better than either.
 *
 *     node scripts/mix-runs.mjs FROM TOWARD SHARE OUT        for instance runs/mini-stage2-longer runs/mini-scst 0.4 runs/mini-mixed
 *
 * OUT/model has `(1 - SHARE) · FROM + SHARE · TOWARD`, tensor by tensor, and FROM's config. Run `npm run build` first.
 */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { asFloat32, loadTensors, readSafetensors, saveModelFolder } from '@querent/hub';

const [from, toward, share, out] = process.argv.slice(2);
if (out === undefined || !(Number(share) >= 0 && Number(share) <= 1)) throw new Error('usage: node scripts/mix-runs.mjs FROM TOWARD SHARE OUT');

const weightsOf = async (run) => loadTensors((await readSafetensors(join(run, 'model', 'model.safetensors'))).tensors);
const [a, b] = [await weightsOf(from), await weightsOf(toward)];
const mixed = [...a].map(([name, tensor]) => {
  const other = b.get(name);
  if (other === undefined) throw new Error(`${toward} has no ${name}: these are not two runs of one model.`);
  const [start, end] = [asFloat32(tensor), asFloat32(other).data];
  return [name, { ...start, data: start.data.map((value, i) => value * (1 - share) + end[i] * share) }];
});
const config = JSON.parse(await readFile(join(from, 'model', 'config.json'), 'utf8'));
await saveModelFolder(join(resolve(out), 'model'), { config, parameters: new Map(mixed), dtype: 'float32' });
