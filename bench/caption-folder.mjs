/**
 * Captions a folder and reports what a long run must show: photographs per second, memory over time, the longest time for
 * which the event loop was held, and one error for each bad file.
 *
 *     node --single-threaded-gc bench/caption-folder.mjs FOLDER [--model FOLDER] [--most N]
 *
 * Run `npm run build` first. The flag is the command line's (docs/decisions/0006); without it the longest hold is two to three times as long. Four bad files (empty, text, truncated, a bomb of 50,000 × 50,000 pixels) are mixed in.
 */
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { deflateSync, crc32 as zlibCrc32 } from 'node:zlib';
import { pipeline } from 'querent';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { model: { type: 'string' }, most: { type: 'string', default: '1000' } } });
const [folder] = positionals;
if (folder === undefined) throw new Error('usage: node --single-threaded-gc bench/caption-folder.mjs FOLDER [--model FOLDER] [--most N]');
const photographs = (await readdir(folder)).filter((name) => /\.(jpe?g|png|webp)$/i.test(name)).sort().slice(0, Number(values.most)).map((name) => join(folder, name));

/** CRC-32 as PNG wants it; zlib has it from Node 20.15 on. */
const crc32 = (bytes) => zlibCrc32(bytes);
function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}
function bomb(side) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk('IHDR', header), chunk('IDAT', deflateSync(Buffer.alloc(1000))), chunk('IEND', Buffer.alloc(0))]);
}

const bad = await mkdtemp(join(tmpdir(), 'querent-bad-'));
const badFiles = { 'empty.jpg': Buffer.alloc(0), 'text.jpg': 'not a picture', 'truncated.jpg': (await readFile(photographs[0])).subarray(0, 2000), 'bomb.png': bomb(50_000) };
for (const [name, bytes] of Object.entries(badFiles)) await writeFile(join(bad, name), bytes);
const inputs = [...photographs];
Object.keys(badFiles).forEach((name, i) => inputs.splice(Math.floor((inputs.length * (i + 1)) / 5), 0, join(bad, name)));

const caption = await pipeline('caption', values.model === undefined ? {} : { model: values.model });
await caption(photographs[0]);
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
const memory = [];
const started = performance.now();
let [done, failed] = [0, 0];
for await (const { error } of caption(inputs)) {
  done++;
  if (error !== undefined) failed++;
  if (done % 100 === 0) memory.push(Math.round(process.memoryUsage.rss() / 2 ** 20));
}
const seconds = (performance.now() - started) / 1000;
delay.disable();
await rm(bad, { recursive: true });
await caption.dispose();
process.stdout.write(
  `${JSON.stringify({
    photographs: photographs.length,
    errors: failed,
    imagesPerSecond: Number((done / seconds).toFixed(1)),
    residentMiB: memory,
    eventLoopMs: { longest: Number((delay.max / 1e6).toFixed(1)), p999: Number((delay.percentile(99.9) / 1e6).toFixed(1)), p99: Number((delay.percentile(99) / 1e6).toFixed(1)) },
  })}\n`,
);
