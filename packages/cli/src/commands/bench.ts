/** `querent bench train`: a training step of stage 1, and PyTorch's beside it where Python has torch. `querent bench engines`: a small one on every engine. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { QuerentError } from '@querent/core';
import { JSON_ARG, MODEL_ARGS, defineCliCommand, wholeNumber } from '../command.ts';
import type { Command } from '../command.ts';
import { printJson, printLine } from '../output.ts';
import { openQuerent } from '../session.ts';

const args = {
  shape: { type: 'string', description: 'base (BERT-base’s width over ViT-g’s features) or mini.', valueHint: 'NAME', default: 'base' },
  steps: { type: 'string', description: 'Measured steps, after one that is not. Default 5.', valueHint: 'N' },
  python: { type: 'string', description: 'A Python that may have torch; no when there is none to try.', valueHint: 'PATH', default: 'python3' },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

/** Of the repository; a package has no peer. */
const PEER = fileURLToPath(new URL('../../../../bench/peer_train.py', import.meta.url));

const command: Command<typeof args> = defineCliCommand({
  name: 'bench',
  description: 'Measure a training step of stage 1 (ITC + ITM + ITG, forward, backward, AdamW): beside PyTorch (train), or a small one on every engine (engines).',
  positionals: 'train|engines',
  args,
  async run(given, { signal, positionals }) {
    const [what] = positionals;
    if (positionals.length !== 1 || (what !== 'train' && what !== 'engines')) throw new QuerentError('QRT_USAGE', `\`querent bench\` was given ${JSON.stringify(positionals.join(' '))}.`, { fix: 'querent bench train --json, or querent bench engines --json' });
    const threads = wholeNumber('threads', given.threads) ?? availableParallelism();
    const steps = wholeNumber('steps', given.steps);
    if (what === 'engines') return (await import('../bench-engines.ts')).benchEngines({ engine: given.engine, threads, steps: steps ?? 5, json: given.json, signal });
    const { benchStage1 } = await import('querent/bench');
    await using querent = await openQuerent({ ...given, threads: String(threads) });
    const result = await benchStage1(querent, {
      threads,
      shape: given.shape,
      ...(steps === undefined ? {} : { steps }),
      ...(given.python !== 'no' && existsSync(PEER) ? { peer: { python: given.python, script: PEER } } : {}),
      signal,
    });
    if (given.json) {
      printJson(result);
      return 0;
    }
    for (const run of [result.querent, result.peer]) {
      if (run !== null) printLine(`${run.name.padEnd(10)} ${run.samplesPerSecond.toFixed(2)} samples/s   ${run.secondsPerStep.toFixed(3)} s a step   ${(run.peakRssBytes / 2 ** 20).toFixed(0)} MiB at most`);
    }
    printLine(result.ratio === null ? 'no peer: this Python has no torch' : `ratio      time ${result.ratio.time.toFixed(2)}   memory ${result.ratio.memory.toFixed(2)}`);
    return 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
