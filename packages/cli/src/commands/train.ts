/** `querent train RECIPE`: runs a recipe and shows how it goes; run again with the same --out it goes on. */
import { join } from 'node:path';
import { QuerentError } from '@querent/core';
import { JSON_ARG, MODEL_ARGS, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { bar, note, printJson, printLine, progressLine, thousands, timeLeft } from '../output.ts';
import { openQuerent } from '../session.ts';

const args = {
  data: { type: 'string', description: 'Folder that the recipe’s data paths are relative to; `data` when absent.', valueHint: 'DIR' },
  out: { type: 'string', description: 'Where checkpoints, the report and the model go; runs/RECIPE when absent.', valueHint: 'DIR' },
  init: { type: 'string', description: 'A trained folder to begin with.', valueHint: 'DIR' },
  cache: { type: 'string', description: 'Where features of frozen encoders are kept.', valueHint: 'DIR' },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

/** A line for a pipe at most so often; a terminal's line is written over at every step. */
const NOTE_EVERY_MS = 15_000;

const LABELS: Readonly<Record<string, string>> = { loss_itc: 'ITC', loss_itm: 'ITM', loss_itg: 'ITG' };

const command: Command<typeof args> = defineCliCommand({
  name: 'train',
  description: 'Train what a recipe describes. Ctrl-C saves; run again it goes on, bit for bit.',
  positionals: 'RECIPE',
  args,
  async run(given, { signal, positionals }) {
    const [recipe, ...rest] = positionals;
    if (recipe === undefined || rest.length > 0) {
      throw new QuerentError('QRT_USAGE', recipe === undefined ? 'No recipe is named.' : `More than one recipe is named: ${positionals.join(', ')}.`, { fix: 'querent train recipes/mini-stage1.json --out runs/stage1' });
    }
    const { readRecipe, train } = await import('querent/train');
    await readRecipe(recipe); // its mistakes are told before anything starts
    const name = recipe.replace(/^.*[\\/]/, '').replace(/\.json$/, '');
    await using querent = await openQuerent({ ...given, inPlace: true });
    const events = train(querent, recipe, {
      data: given.data ?? 'data',
      out: given.out ?? join('runs', name),
      ...(given.cache === undefined ? {} : { cache: given.cache }),
      ...(given.init === undefined ? {} : { init: given.init }),
      signal,
    });
    let noted = 0;
    for await (const event of events) {
      if (given.json) printJson(event.type === 'end' ? { type: 'end', step: event.step } : event);
      if (event.type === 'prepare') progressLine.show(`${event.what} ${bar(event.done, event.total)} ${thousands(event.done)}/${thousands(event.total)}`);
      if (event.type === 'note') note(event.text);
      if (event.type === 'start') note(`${name}: ${thousands(event.trainedParameters)} parameters learn, step ${thousands(event.step)} of ${thousands(event.steps)}`);
      if (event.type === 'checkpoint') note(`checkpoint ${event.path}`);
      if (event.type === 'saved' && !given.json) printLine(event.path);
      if (event.type !== 'step') continue;
      const line = stepLine(name, event);
      if (progressLine.isWatched()) progressLine.show(line);
      else if (Date.now() - noted > NOTE_EVERY_MS || event.step === event.steps) {
        note(line);
        noted = Date.now();
      }
    }
    return 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

interface Step {
  readonly step: number;
  readonly steps: number;
  readonly loss: number;
  readonly losses: Readonly<Record<string, number>>;
  readonly samplesPerSecond: number;
  readonly secondsLeft: number;
}

function stepLine(name: string, { step, steps, loss, losses, samplesPerSecond, secondsLeft }: Step): string {
  const parts = Object.entries(losses).filter(([key]) => key !== 'loss').map(([key, value]) => `${LABELS[key] ?? key} ${value.toFixed(2)}`);
  const shown = parts.length > 1 ? parts : [`loss ${loss.toFixed(3)}`, ...parts];
  return [name, bar(step, steps), `step ${thousands(step)}/${thousands(steps)}`, ...shown, `${samplesPerSecond.toFixed(samplesPerSecond < 10 ? 1 : 0)} samples/s`, timeLeft(secondsLeft)].join('  ');
}
