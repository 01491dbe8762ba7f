/** Every fixture with a model, verified on TensorFlow.js with the tolerances that onnxruntime has: plain JavaScript, and the native addon where it is built. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { verify } from 'querent/verify';
import { describe, expect, test } from 'vitest';
import { tfjsEngines } from './backends.ts';

const GOLDENS = fileURLToPath(new URL('../goldens/v1', import.meta.url));
/** Without a model nothing runs on an engine. */
const FIXTURES = readdirSync(GOLDENS).filter((name) => {
  try {
    return readFileSync(join(GOLDENS, name, 'config.json')).length > 0;
  } catch {
    return false;
  }
});
const backends = (await tfjsEngines()).map(({ name }) => name).filter((name) => name !== 'tfjs:wasm');

describe.each(backends)('%s', (engine) => {
  test.each(FIXTURES)('%s', async (name) => {
    const onnxruntime = await verify(join(GOLDENS, name)).catch((error: unknown) => error);
    if (onnxruntime instanceof Error) return; // a kind that no engine verifies
    const report = await verify(join(GOLDENS, name), { engine });
    expect(report.outputs.filter(({ isWithin }) => !isWithin)).toEqual([]);
    expect(report.outputs.map((output) => output.name)).toEqual((onnxruntime as typeof report).outputs.map((output) => output.name)); // not an error: a report
  }, 300_000);
});
