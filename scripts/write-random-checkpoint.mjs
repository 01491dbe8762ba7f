/**
 * Writes a BLIP-2 checkpoint of random weights: bf16, two shards, 7.5 GB for opt-2.7b, in a few MiB of memory.
 *
 *     node scripts/write-random-checkpoint.mjs FOLDER [opt-2.7b|vit-g|tiny]
 *
 * Run `npm run build` first. What it is for: `querent bench infer --preset opt-2.7b --folder FOLDER`, see docs/precision.md.
 */
import { resolve } from 'node:path';
import { createRegistry } from '@querent/core';
import { builtInPlugins } from 'querent';
import { BENCH_INFER_PRESETS, writeRandomCheckpoint } from 'querent/bench';

const [folder, preset = 'opt-2.7b'] = process.argv.slice(2);
const config = BENCH_INFER_PRESETS[preset];
if (folder === undefined || config === undefined) throw new Error(`usage: node scripts/write-random-checkpoint.mjs FOLDER [${Object.keys(BENCH_INFER_PRESETS).join('|')}]`);
const { parameters, bytes } = await writeRandomCheckpoint(resolve(folder), config, { registry: createRegistry(builtInPlugins) });
console.log(`${parameters} weights, ${(bytes / 1e9).toFixed(2)} GB in ${folder}`);
