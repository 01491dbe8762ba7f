/** `querent run PIPELINE`: a pipeline document from its source to its sink; run it again after a stop and it goes on. */
import { QuerentError } from '@querent/core';
import type { StageMetrics } from 'querent';
import { JSON_ARG, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { note, printJson, printLine, progressLine, thousands, timeLeft } from '../output.ts';
import { describeItemError } from '../print-error.ts';
import { openQuerent } from '../session.ts';

const args = {
  threads: { type: 'string', description: 'Threads within an operator; the machine’s cores when absent.', valueHint: 'N' },
  restart: { type: 'boolean', description: 'Begin anew, whatever an earlier run has left.', default: false },
  metrics: { type: 'boolean', description: 'Say at the end what each stage did and waited for.', default: false },
  ...JSON_ARG,
} as const;

/** A line a stage: where the time went. */
export function metricsTable(stages: readonly StageMetrics[]): string[] {
  const width = Math.max(...stages.map(({ name }) => name.length), 5);
  const rows = stages.map(({ name, done, failed, maxDepth, inStageMs, waitingMs, unreadMs }) =>
    [name.padEnd(width), ...[thousands(done), thousands(failed), String(maxDepth), ...[done > 0 ? inStageMs / done : 0, waitingMs, unreadMs].map((ms) => thousands(Math.round(ms)))].map((cell) => cell.padStart(12))].join(''));
  return [['stage'.padEnd(width), ...['items', 'failed', 'at most', 'ms an item', 'starved ms', 'unread ms'].map((cell) => cell.padStart(12))].join(''), ...rows];
}

const command: Command<typeof args> = defineCliCommand({
  name: 'run',
  description: 'Run a pipeline document: a source, tasks one after the other, a sink. Run it again after a stop and it goes on.',
  positionals: 'PIPELINE',
  args,
  async run(given, { signal, positionals }) {
    const [file] = positionals;
    if (file === undefined || positionals.length > 1) {
      throw new QuerentError('QRT_USAGE', `One pipeline document is run; ${file === undefined ? 'none was' : `${positionals.length} were`} named.`, { fix: 'querent run pipeline.json' });
    }
    const { runPipeline, stdoutFormat } = await import('querent/run');
    const printed = await stdoutFormat(file);
    await using querent = await openQuerent({ threads: given.threads });
    let isFirst = true;
    let code = 0;
    for await (const event of runPipeline(file, { querent, signal, restart: given.restart })) {
      if (event.type === 'resumed') note(`Going on after ${thousands(event.done)} items.`);
      else if (event.type === 'item') {
        if (printed === 'jsonl') printJson(event.result);
        else if (printed === 'json') printLine(`${isFirst ? '[' : ','}${JSON.stringify(event.result)}`);
        isFirst = false;
        if (event.error !== undefined) note(`${String(event.result['image'] ?? `item ${event.index}`)}   ${describeItemError(event.error)}`);
      } else if (event.type === 'progress') {
        const { done, total, rate, etaMs } = event.progress;
        progressLine.show(`${thousands(done)}${total === undefined ? '' : ` of ${thousands(total)}`} items, ${rate.toFixed(1)} a second${etaMs === undefined ? '' : `, ${timeLeft(etaMs / 1000)}`}`);
      } else {
        progressLine.clear();
        if (printed === 'json') printLine(isFirst ? '[]' : ']');
        const { done, failed, file: out, stages } = event;
        if (given.json && printed === undefined) printJson({ done, failed, file: out, stages });
        else if (printed === undefined) printLine(`${thousands(done)} items, ${thousands(failed)} failed, in ${out}`);
        if (given.metrics) for (const line of metricsTable(stages)) note(line);
        code = failed > 0 ? 1 : 0;
      }
    }
    return code;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
