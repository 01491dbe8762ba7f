/**
 * Decoding speed of a language model in a GGUF file, batch 1, beside llama.cpp on the same file, prompt and threads:
 *
 *     MODEL=SmolLM2-135M-Instruct.Q4_1.gguf npx vitest bench --run bench/decode.bench.ts
 *     PEER=node_modules MODEL=… npx vitest bench --run bench/decode.bench.ts      also runs node-llama-cpp (bench/peer_decode.mjs)
 *
 * PEER is a `node_modules` folder with node-llama-cpp in it. THREADS (2), TOKENS (96), ROUNDS (3) and PRECISION (as the file has it) may be
 * set. The two take turns, and of each the fastest round counts.
 */
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createRegistry } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';
import { PRECISIONS, builtInPlugins } from 'querent';
import { benchDecode } from 'querent/bench';
import { bench } from 'vitest';

const { MODEL: model, PEER: peer } = process.env;
const threads = Number(process.env['THREADS'] ?? 2);
const newTokens = Number(process.env['TOKENS'] ?? 96);
const rounds = Number(process.env['ROUNDS'] ?? 3);
const precision = PRECISIONS.find((name) => name === process.env['PRECISION']);
const prompt = 'The capital of France is';

async function runPeer(file: string, modules: string): Promise<{ readonly tokensPerSecond: number }> {
  const script = fileURLToPath(new URL('peer_decode.mjs', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [script, resolve(modules), file, String(threads), String(newTokens), String(rounds), prompt]);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as { tokensPerSecond: number }; // what the script prints
}

bench(
  'decode',
  async () => {
    if (model === undefined) throw new Error('Set MODEL to a .gguf file or a language model folder.');
    const file = resolve(model);
    await using engine = createOnnxEngine({ threads });
    const ours = await benchDecode(file, { registry: createRegistry(builtInPlugins), engine, prompt, newTokens, rounds, ...(precision === undefined ? {} : { precision }) });
    const theirs = peer === undefined ? undefined : await runPeer(file, peer);
    console.log(JSON.stringify({ threads, newTokens, ours, peer: theirs, ratio: theirs === undefined ? undefined : ours.tokensPerSecond / theirs.tokensPerSecond }));
  },
  { iterations: 1, time: 0, warmupIterations: 0, warmupTime: 0 },
);
