/** `querent graph MODEL [NAME]`: one of a model's graphs as text, from its config alone. */
import { QuerentError } from '@querent/core';
import { JSON_ARG, defineCliCommand, wholeNumber } from '../command.ts';
import type { Command } from '../command.ts';
import { printJson, printLine } from '../output.ts';
import { openQuerent } from '../session.ts';

const args = {
  nodes: { type: 'string', description: 'Print at most so many nodes.', valueHint: 'N' },
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'graph',
  description: 'Print a graph of a model: encoder, bridge, prefill, decode, match, … (encoder when none is named).',
  positionals: 'MODEL [NAME]',
  args,
  async run(given, { positionals }) {
    const [folder, name = 'encoder', ...rest] = positionals;
    if (folder === undefined || rest.length > 0) throw new QuerentError('QRT_USAGE', folder === undefined ? 'No model is named.' : `Too many words: ${rest.join(' ')}.`, { fix: 'querent graph models/querent-mini bridge' });
    const maxNodes = wholeNumber('nodes', given.nodes);
    const { printModelGraph } = await import('querent/graph');
    await using querent = await openQuerent();
    const text = await printModelGraph(querent, folder, name, maxNodes === undefined ? {} : { maxNodes });
    if (given.json) printJson({ model: folder, graph: name, lines: text.split('\n') });
    else printLine(text);
    return 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
