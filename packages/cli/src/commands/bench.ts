/** `querent bench train`: a training step of stage 1, and PyTorch's beside it where Python has torch. `querent bench engines`: a small one on every engine. `querent bench infer`: captioning in each precision. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { QuerentError } from '@querent/core';
import type { ParsedArgs } from 'citty';
import { JSON_ARG, MODEL_ARGS, defineCliCommand, wholeNumber } from '../command.ts';
import type { Command } from '../command.ts';
import { printJson, printLine } from '../output.ts';
import { openQuerent } from '../session.ts';

const args = {
  shape: { type: 'string', description: 'base (BERT-base’s width over ViT-g’s features) or mini.', valueHint: 'NAME', default: 'base' },
  steps: { type: 'string', description: 'Measured steps, after one that is not; default 5. infer: runs, of which the fastest counts; default 3.', valueHint: 'N' },
  python: { type: 'string', description: 'A Python that may have torch; no when there is none to try.', valueHint: 'PATH', default: 'python3' },
  preset: { type: 'string', description: 'infer: the size of the model of random weights, opt-2.7b or tiny. Default tiny.', valueHint: 'NAME' },
  folder: { type: 'string', description: 'infer: where the checkpoint lies; written there when it is not there. Absent: a folder that is deleted again.', valueHint: 'DIR' },
  tokens: { type: 'string', description: 'infer: new tokens of a caption. Default 32.', valueHint: 'N' },
  here: { type: 'boolean', description: 'infer: one precision of a folder, in this process.', default: false },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

/** Of the repository; a package has no peer. */
const PEER = fileURLToPath(new URL('../../../../bench/peer_train.py', import.meta.url));

async function runInfer(given: ParsedArgs<typeof args>, threads: number, rounds: number, signal: AbortSignal): Promise<number> {
  const { benchInferCommand, benchInferHere } = await import('../bench-infer.ts');
  const shared = { threads, rounds, newTokens: wholeNumber('tokens', given.tokens) ?? 32, signal };
  if (!given.here) return benchInferCommand({ ...shared, preset: given.preset ?? 'tiny', folder: given.folder, precision: given.precision ?? 'int4', python: given.python, json: given.json });
  const { PRECISIONS } = await import('querent');
  const precision = PRECISIONS.find((name) => name === given.precision);
  if (given.folder === undefined || precision === undefined) throw new QuerentError('QRT_USAGE', '--here needs --folder and one --precision.');
  return benchInferHere(given.folder, precision, shared);
}

const command: Command<typeof args> = defineCliCommand({
  name: 'bench',
  description: 'Measure a training step of stage 1 (ITC + ITM + ITG, forward, backward, AdamW): beside PyTorch (train), or a small one on every engine (engines); or captioning in each precision (infer).',
  positionals: 'train|engines|infer',
  args,
  async run(given, { signal, positionals }) {
    const [what] = positionals;
    if (positionals.length !== 1 || (what !== 'train' && what !== 'engines' && what !== 'infer')) throw new QuerentError('QRT_USAGE', `\`querent bench\` was given ${JSON.stringify(positionals.join(' '))}.`, { fix: 'querent bench train --json, querent bench engines --json, or querent bench infer --preset tiny --json' });
    const threads = wholeNumber('threads', given.threads) ?? availableParallelism();
    const steps = wholeNumber('steps', given.steps);
    if (what === 'engines') return (await import('../bench-engines.ts')).benchEngines({ engine: given.engine, threads, steps: steps ?? 5, json: given.json, signal });
    if (what === 'infer') return runInfer(given, threads, steps ?? 3, signal);
    const { benchStage1 } = await import('querent/bench');
    await using querent = await openQuerent({ ...given, threads: String(threads), inPlace: true });
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
    const named = [['', result.querent], [', as published', result.peer], [', written for speed', result.sharingPeer]] as const;
    for (const [how, run] of named) {
      if (run !== null) printLine(`${(run.name + how).padEnd(32)} ${run.samplesPerSecond.toFixed(2)} samples/s   ${run.secondsPerStep.toFixed(3)} s a step   ${(run.peakRssBytes / 2 ** 20).toFixed(0)} MiB at most`);
    }
    for (const [how, ratio] of [['as published', result.ratio], ['written for speed', result.sharingRatio]] as const) {
      if (ratio !== null) printLine(`${`ratio to PyTorch ${how}`.padEnd(36)} time ${ratio.time.toFixed(2)}   memory ${ratio.memory.toFixed(2)}`);
    }
    if (result.ratio === null) printLine('no peer: this Python has no torch');
    return 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
