/**
 * Images a second through encoder and bridge, beside transformers: both are loaded, then take turns, so that whatever else runs on the machine slows
 * both. Run `npm run build` first; FOLDER is a BLIP-2 checkpoint, for instance of scripts/write-random-checkpoint.mjs.
 *
 *     node bench/encode.mjs FOLDER int8|int4|fp32 bfloat16|float32 [batch] [rounds] [python]
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createQuerent } from 'querent';

const THREADS = 2;
const [folder, precision, dtype, batch = '1', rounds = '8', python = 'python3'] = process.argv.slice(2);
const querent = await createQuerent({ threads: THREADS, inPlace: true });
const model = await querent.load(folder, { precision });
const peer = spawn(python, [fileURLToPath(new URL('peer_encode.py', import.meta.url)), folder, dtype, batch, String(THREADS)], { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
await lines.next();
const { height, width } = model.parts.processor;
const size = 3 * height * width;
const pixels = Array.from({ length: Number(batch) }, (_, row) => ({ dtype: 'float32', shape: [3, height, width], data: Float32Array.from({ length: size }, (_, i) => 2 * Math.sin(12.9898 * i * (row + 1))) }));
const [ours, theirs] = [[], []];
for (let round = 0; round < Number(rounds); round++) {
  const begun = performance.now();
  await model.bridge(await model.encode(pixels));
  ours.push((performance.now() - begun) / 1000);
  peer.stdin.write('next\n');
  theirs.push(Number((await lines.next()).value));
  console.log(`round ${round + 1}: querent ${precision} ${ours.at(-1).toFixed(3)} s, transformers ${dtype} ${theirs.at(-1).toFixed(3)} s`);
}
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
for (const [what, of] of [['fastest', (values) => Math.min(...values)], ['median', median]]) {
  console.log(`${what}: ${(Number(batch) / of(ours)).toFixed(2)} against ${(Number(batch) / of(theirs)).toFixed(2)} images/s, ratio ${(of(theirs) / of(ours)).toFixed(2)}`);
}
peer.stdin.end();
await querent.dispose();
