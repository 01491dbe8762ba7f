/**
 * Three promises of pipelines, each as a ratio or a time of one run: the first caption after `import`, 32 calls at the same time beside one
 * by one, and what the flow costs beside calling the model's steps by hand on the same batches.
 *
 *     node_modules/.bin/vitest bench --run bench/pipeline.bench.ts        needs a build (npm run build) and models/querent-mini
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LoadedModel } from '@querent/core';
import { decodeImage } from '@querent/images';
import { stack, unstack } from '@querent/tasks';
import { bridge, createMetrics, createQuerent, decode, encode, from, generate, pipeline } from 'querent';
import { bench, describe } from 'vitest';

const ROUNDS = Number(process.env['ROUNDS'] ?? 5);
const root = fileURLToPath(new URL('..', import.meta.url));
const photos = join(root, 'test', 'photos');
const files = readdirSync(photos).filter((name) => name.endsWith('.jpg')).map((name) => join(photos, name));
const many = Array.from({ length: 32 }, (_, i) => files[i % files.length]!);
const how = { numBeams: 1, maxNewTokens: 16 };

/** The best of some rounds: other work on the machine only ever adds. */
async function best(run: () => Promise<unknown>): Promise<number> {
  let least = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    await run();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

/** A process of its own, as a user's: wall and processor time until the first caption is there. */
function firstCaption(): { readonly importMs: number; readonly wallMs: number; readonly cpuMs: number } {
  const script = `
    const start = performance.now();
    const { pipeline } = await import('querent');
    const importMs = performance.now() - start;
    const caption = await pipeline('caption');
    await caption(${JSON.stringify(files[0])});
    const { user, system } = process.cpuUsage();
    console.log(JSON.stringify({ importMs, wallMs: performance.now() - start, cpuMs: (user + system) / 1000 }));
    process.exit(0);`;
  return JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: join(root, 'packages', 'querent'), encoding: 'utf8' })) as ReturnType<typeof firstCaption>;
}

/** The same steps on the same batches of 16, without a flow. */
async function byHand(model: LoadedModel): Promise<void> {
  for (let start = 0; start < many.length; start += 16) {
    const images = await Promise.all(many.slice(start, start + 16).map(async (file) => model.prepare({ ...(await decodeImage(file)), channels: 3 })));
    const features = unstack(await model.encode(images));
    for await (const _ of model.generate(stack(unstack(await model.bridge(stack(features)))), how)) void _;
  }
}

const round = (value: number): number => Math.round(value * 1000) / 1000;

const firsts = Array.from({ length: ROUNDS }, firstCaption);
const first = firsts.toSorted((a, b) => a.wallMs - b.wallMs)[0]!;

await using querent = await createQuerent();
const model = await querent.load(join(root, 'models', 'querent-mini'));
await using caption = await pipeline('caption', { model });
const oneByOne = async (): Promise<void> => {
  for (const image of many) await caption({ image, ...how });
};
const together = (): Promise<unknown> => Promise.all(many.map((image) => caption({ image, ...how })));
const metrics = createMetrics();
const flow = async (): Promise<void> => {
  const run = from(many).pipe(metrics.measure('decode', decode()), metrics.measure('encode', encode(model)), metrics.measure('bridge', bridge(model)), metrics.measure('generate', generate(model, how)));
  for await (const { error } of run) if (error !== undefined) throw error;
};
/** What the flow itself costs: the same stages over items that need no work, a run of as many. */
const emptyFlow = async (): Promise<void> => {
  const { asResults, mapBatches, mapResults } = await import('@querent/core');
  const pass = mapBatches<string, string, string>((rows) => rows, { size: 16, maxWaitMs: 250 });
  const run = from(many).pipe(metrics.measure('a', asResults<string>()), metrics.measure('b', mapResults<string, string, string>((x) => x, { concurrency: 4 })), metrics.measure('c', pass), metrics.measure('d', pass), metrics.measure('e', pass));
  for await (const { error } of run) if (error !== undefined) throw error;
};
for (const warm of [together, flow, emptyFlow, () => byHand(model)]) await warm();
const times = { oneByOneMs: await best(oneByOne), togetherMs: await best(together), byHandMs: await best(() => byHand(model)), flowMs: await best(flow), emptyFlowMs: await best(emptyFlow) };

console.log(JSON.stringify({
  firstCaption: { importMs: round(first.importMs), wallMs: round(first.wallMs), cpuMs: round(Math.min(...firsts.map(({ cpuMs }) => cpuMs))) },
  calls: { oneByOneMs: round(times.oneByOneMs), togetherMs: round(times.togetherMs), ratio: round(times.oneByOneMs / times.togetherMs) },
  overhead: { byHandMs: round(times.byHandMs), flowMs: round(times.flowMs), flowToByHand: round(times.flowMs / times.byHandMs), emptyFlowMs: round(times.emptyFlowMs), share: round(times.emptyFlowMs / times.byHandMs) },
}));

describe('32 photographs', () => {
  bench('one by one', oneByOne, { iterations: 1, time: 0, warmupIterations: 0 });
  bench('at the same time', together as () => Promise<void>, { iterations: 1, time: 0, warmupIterations: 0 });
});
