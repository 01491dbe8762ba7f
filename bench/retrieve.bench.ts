/**
 * A search over 100,000 images of random unit vectors: the shape of querent-mini-retrieval [16, 128], and BLIP-2's [32, 256].
 *
 *     npx vitest bench --run bench/retrieve.bench.ts
 */
import { ScanBlock, rowsPerBlock, scanQuery } from '../packages/tasks/src/index-store/scan.ts';
import { quantise } from '../packages/tasks/src/index-store/quantise.ts';
import { TopHits } from '../packages/tasks/src/index-store/top-hits.ts';
import { bench, describe } from 'vitest';

const IMAGES = 100_000;

function randomUnits(count: number, shared: number): Float32Array {
  const all = new Float32Array(count * shared);
  for (let i = 0; i < count; i++) {
    let square = 0;
    for (let k = 0; k < shared; k++) square += (all[i * shared + k] = Math.random() + Math.random() - 1) ** 2;
    for (let k = 0; k < shared; k++) all[i * shared + k]! /= Math.sqrt(square);
  }
  return all;
}

for (const [queries, shared] of [[16, 128], [32, 256]] as const) {
  const rows = rowsPerBlock(queries, shared);
  const some = quantise(randomUnits(rows * queries, shared), shared); // one block's vectors, repeated: the time does not depend on values
  const blocks: ScanBlock[] = [];
  for (let left = IMAGES; left > 0; left -= rows) {
    const block = new ScanBlock(queries, shared);
    const size = some.data.length / rows;
    const count = Math.min(left, rows);
    block.append({ data: some.data.subarray(0, count * size), scales: some.scales.subarray(0, count * queries) }, 0);
    blocks.push(block);
  }
  const search = (scores: (block: ScanBlock) => Float32Array): void => {
    const best = new TopHits(128);
    blocks.forEach((block, at) => scores(block).forEach((score, row) => score > best.threshold && best.offer(score, at * rows + row)));
    best.sorted();
  };
  const text = scanQuery(randomUnits(1, shared), shared);
  const image = scanQuery(randomUnits(queries, shared), shared);
  // On a busy machine the clock counts the others' work too: here is what one search takes of a core.
  search((block) => block.largest(text));
  const before = process.cpuUsage();
  for (let i = 0; i < 10; i++) search((block) => block.largest(text));
  const { user, system } = process.cpuUsage(before);
  console.log(`[${queries}, ${shared}]: ${((user + system) / 10_000).toFixed(1)} ms of CPU a search by a text`);
  describe(`${IMAGES} images of [${queries}, ${shared}], best 128`, () => {
    bench('by a text', () => search((block) => block.largest(text)), { time: 2000 });
    bench('by an image: candidates', () => search((block) => block.aligned(image)), { time: 2000 });
  });
}
