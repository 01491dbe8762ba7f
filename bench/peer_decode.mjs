/** llama.cpp through node-llama-cpp, for bench/decode.bench.ts: `node peer_decode.mjs NODE_MODULES FILE THREADS TOKENS ROUNDS PROMPT` */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, file, threads, newTokens, rounds, prompt] = process.argv.slice(2);
const entry = createRequire(join(modules, 'x.js')).resolve('node-llama-cpp');
const { getLlama } = await import(pathToFileURL(entry).href);
const llama = await getLlama({ gpu: false, maxThreads: Number(threads), build: 'never', logLevel: 'error' });
const model = await llama.loadModel({ modelPath: file });
let [tokensPerSecond, prefillMs, text] = [0, Infinity, ''];
for (let round = 0; round < Number(rounds); round++) {
  const context = await model.createContext({ contextSize: 1024, threads: Number(threads) });
  const out = [];
  const begun = performance.now();
  let first = begun;
  for await (const token of context.getSequence().evaluate(model.tokenize(prompt, false), { temperature: 0 })) {
    if (out.push(token) === 1) first = performance.now();
    if (out.length >= Number(newTokens)) break;
  }
  tokensPerSecond = Math.max(tokensPerSecond, (1000 * (out.length - 1)) / (performance.now() - first));
  prefillMs = Math.min(prefillMs, first - begun);
  text = model.detokenize(out);
  await context.dispose();
}
console.log(JSON.stringify({ prefillMs, tokensPerSecond, text }));
process.exit(0);
