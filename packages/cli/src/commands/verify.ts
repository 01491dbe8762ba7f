/** `querent verify FOLDER...`: how far results are from reference tensors; exit code 1 beyond the tolerance. */
import { QuerentError } from '@querent/core';
import type { Comparison, VerifyReport } from 'querent/verify';
import { JSON_ARG, MODEL_ARGS, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { note, printJson, printLine } from '../output.ts';
import { namedPlugins } from '../session.ts';

const args = { engine: MODEL_ARGS.engine, ...JSON_ARG } as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'verify',
  description: 'Run a folder of reference tensors (config.json, model, inputs and expected) and compare every output.',
  positionals: 'FOLDER...',
  args,
  async run(given, { signal, positionals }) {
    if (positionals.length === 0) throw new QuerentError('QRT_USAGE', 'No folder is named.', { fix: 'querent verify test/goldens/v1/vision-vit' });
    const { verify } = await import('querent/verify');
    let isWithin = true;
    for (const folder of positionals) {
      signal.throwIfAborted();
      const report = await verify(folder, { plugins: namedPlugins(), ...(given.engine === undefined ? {} : { engine: given.engine }) });
      isWithin &&= report.isWithin;
      if (given.json) printJson({ ...report, outputs: report.outputs.map(finite) });
      else printReport(report);
      if (!report.isWithin) note(failure(report));
    }
    return isWithin ? 0 : 1;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

/** JSON has no Infinity: null stands for it. */
function finite(comparison: Comparison): object {
  const number = (value: number): number | null => (Number.isFinite(value) ? value : null);
  return { ...comparison, absolute: number(comparison.absolute), relative: number(comparison.relative) };
}

function printReport({ folder, kind, outputs, notCompared }: VerifyReport): void {
  printLine(`${folder}: ${kind}`);
  const width = Math.max(...outputs.map(({ name }) => name.length), 10);
  for (const { name, absolute, relative, tolerance, isWithin, note: why } of outputs) {
    const numbers = `largest difference ${shown(absolute)} absolute, ${shown(relative)} relative (tolerance ${tolerance === 0 ? 'exact' : shown(tolerance)})`;
    printLine(`  ${isWithin ? 'ok    ' : 'BEYOND'} ${name.padEnd(width)}  ${numbers}${why === undefined ? '' : `  ${why}`}`);
  }
  for (const { name, reason } of notCompared) printLine(`  -      ${name.padEnd(width)}  ${reason}`);
}

function shown(value: number): string {
  return value === 0 ? '0' : value.toExponential(2);
}

function failure({ folder, outputs }: VerifyReport): string {
  const beyond = outputs.filter(({ isWithin }) => !isWithin);
  const what = outputs.length === 0 ? 'nothing could be compared' : `${beyond.length} of ${outputs.length} outputs are beyond their tolerance: ${beyond.slice(0, 5).map(({ name }) => name).join(', ')}${beyond.length > 5 ? ', …' : ''}`;
  return `error QRT_VERIFY_FAILED  ${folder}\n  ${what}.`;
}
