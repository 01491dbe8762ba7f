/** The table of kernels is what TensorFlow.js runs: profiled, operator by operator. `QUERENT_PRINT_KERNELS=1` prints it anew. */
import { afterAll, expect, test } from 'vitest';
import { OPERATOR_CASES, graphOf } from '../../../graph/test/operator-cases.ts';
import { createTfjsEngine } from '../engine.ts';
import { TFJS_KERNELS } from './needed.ts';

const engine = await createTfjsEngine({ backend: 'cpu' });
afterAll(() => engine[Symbol.asyncDispose]());

test('each operator uses the kernels that the table names', async () => {
  const { tf } = engine.choice.backend;
  const used = new Map<string, Set<string>>();
  for (const sample of OPERATOR_CASES) {
    const { graph, feeds } = graphOf(sample);
    await using executable = await engine.compile(graph, new Map());
    const { kernelNames } = await tf.profile(async () => {
      await executable.run(feeds);
    });
    used.set(sample.op, new Set([...(used.get(sample.op) ?? []), ...kernelNames]));
  }
  const table = Object.fromEntries([...used].filter(([, names]) => names.size > 0).sort(([a], [b]) => (a < b ? -1 : 1)).map(([op, names]) => [op, [...names].sort()]));
  if (process.env['QUERENT_PRINT_KERNELS'] === '1') {
    process.stdout.write(`TABLE${Object.entries(table).map(([op, names]) => `\n  ${op}: [${names.map((name) => `'${name}'`).join(', ')}],`).join('')}\nEND\n`);
    return;
  }
  expect(table).toEqual(TFJS_KERNELS);
});
