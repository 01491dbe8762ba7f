/** `querent inspect MODEL`: parts, sizes, memory, and what does not fit, before a byte of weights is read. Exit code 1 when it cannot be loaded. */
import { QuerentError } from '@querent/core';
import type { EncoderPrecision, InspectReport, PartReport } from 'querent/inspect';
import { JSON_ARG, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { printJson, printLine, showDownload, thousands } from '../output.ts';
import { openQuerent } from '../session.ts';

const args = {
  'precision-error': { type: 'boolean', description: 'Also load the language model in each precision: perplexity and error of the logits.', default: false },
  all: { type: 'boolean', description: 'List every tensor that does not fit, not the first ten.', default: false },
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'inspect',
  description: 'Parts, families, parameters, memory and missing tensors of a model folder, a name on the hub, or a config.json without weights.',
  positionals: 'MODEL',
  args,
  async run(given, { signal, positionals }) {
    const [model, ...rest] = positionals;
    if (model === undefined || rest.length > 0) {
      throw new QuerentError('QRT_USAGE', model === undefined ? 'No model is named.' : `Too many words: ${rest.join(' ')}.`, { fix: 'querent inspect models/querent-mini' });
    }
    const { inspectModel, precisionReport } = await import('querent/inspect');
    await using querent = await openQuerent();
    const report = await inspectModel(model, { registry: querent.registry, signal, onDownload: showDownload });
    const figures = given['precision-error'] ? await precisionReport(folderOf(report, model), { registry: querent.registry, signal }) : undefined;
    if (given.json) printJson({ ...report, ...(figures === undefined ? {} : { precisions: figures }) });
    else {
      printReport(report, given.all ? Infinity : 10);
      for (const row of figures ?? []) printLine(`${row.precision}: ${size(row.weightBytes)} of the language model, perplexity ${row.perplexity.toPrecision(4)}, logits off by ${(100 * row.logitError).toFixed(2)} %, same next token ${(100 * row.agreement).toFixed(1)} %`);
    }
    return report.missing.length + report.misshaped.length === 0 ? 0 : 1;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

/** Where the language model's weights are. */
function folderOf({ parts }: InspectReport, model: string): string {
  const language = parts.find(({ part }) => part === 'language model');
  if (language === undefined) throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${model} has no language model to measure.`, { fix: 'Leave out --precision-error.' });
  return language.folder;
}

function printReport(report: InspectReport, most: number): void {
  const { model, parts, parameters, trainable, frozen, memory } = report;
  printLine(`${model}: ${thousands(parameters)} parameters, ${thousands(trainable)} trainable, ${thousands(frozen)} frozen`);
  const rows = [['part', 'family', 'parameters', 'trainable', 'tensors', 'stored as', 'in'], ...parts.map(rowOf)];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of rows) printLine(`  ${row.map((cell, column) => (column >= 2 && column <= 4 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join('  ')}`.trimEnd());
  const sizes = Object.entries(memory.weights).map(([precision, bytes]) => `${precision} ${size(bytes)}`);
  printLine(`memory of the weights: ${sizes.join(', ')}${memory.cacheBytesPerToken === 0 ? '' : `; and ${size(memory.cacheBytesPerToken)} for each token of each hypothesis`}`);
  for (const chosen of report.encoderPrecisions) printLine(encoderLine(chosen));
  printLine(report.hasWeights ? 'weights:' : 'weights: none here (a config alone)');
  if (!report.hasWeights) return;
  const { missing, misshaped, unexpected, redundant } = report;
  list('missing', missing, most);
  list('misshaped', misshaped.map(({ name, expected, found }) => `${name} is [${found.join(', ')}]; the config asks for [${expected.join(', ')}]`), most);
  list('unexpected, not used', unexpected, most);
  if (redundant.length > 0) printLine(`  ${redundant.length} redundant (buffers, tied duplicates), not used`);
  if (missing.length + misshaped.length === 0) printLine('  every tensor that the model needs is there');
}

/** `encoder in int8 and int4: 156 of 156 products on 8-bit integers, cosine of the queries 0.99972 (bar 0.999, 8 pictures, built in)` */
function encoderLine({ integers, blocks, stored, cosine, cosineOfIntegers, bar, images, imagesFrom }: EncoderPrecision): string {
  const others = [...(blocks.length > 0 ? [`${blocks.length} in 8-bit blocks`] : []), ...(stored.length > 0 ? [`${stored.length} as stored`] : [])];
  const all = others.length === 0 ? '' : ` (integers everywhere: ${cosineOfIntegers.toFixed(5)})`;
  return `encoder in int8 and int4: ${[`${integers.length} of ${integers.length + blocks.length + stored.length} products on 8-bit integers`, ...others].join(', ')}; cosine of the queries ${cosine.toFixed(5)}${all}, bar ${bar}, ${images} pictures, ${imagesFrom}`;
}

function rowOf({ part, family, parameters, trainable, tensors, stored, folder }: PartReport): string[] {
  const dtypes = Object.entries(stored).map(([dtype, bytes]) => `${dtype} ${size(bytes)}`);
  return [part, family, thousands(parameters), thousands(trainable), String(tensors), dtypes.join(', ') || '-', folder];
}

function list(what: string, lines: readonly string[], most: number): void {
  if (lines.length === 0) return;
  printLine(`  ${lines.length} ${what}:`);
  for (const line of lines.slice(0, most)) printLine(`    ${line}`);
  if (lines.length > most) printLine(`    and ${lines.length - most} more (--all)`);
}

/** `1.2 GB` */
function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const unit = bytes > 0 ? Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3)) : 0;
  return `${unit === 0 ? bytes : (bytes / 1000 ** unit).toFixed(bytes / 1000 ** unit < 10 ? 2 : 1)} ${units[unit]}`;
}
