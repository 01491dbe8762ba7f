/** `querent plugin new|check|list`: a folder to begin a plugin with, whether a plugin keeps its contract, what is registered. */
import { PLUGIN_KINDS, QuerentError, nearest } from '@querent/core';
import { TEMPLATE_KINDS, createPlugin } from 'create-querent-plugin';
import { JSON_ARG, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { note, printJson, printLine } from '../output.ts';
import { openQuerent } from '../session.ts';

const args = {
  kind: { type: 'string', description: `new: what it is: ${TEMPLATE_KINDS.join(', ')}.`, default: 'task', valueHint: 'KIND' },
  out: { type: 'string', description: 'new: the folder to write; querent-plugin-NAME when absent.', valueHint: 'DIR' },
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'plugin',
  description: 'Start a plugin of your own (new NAME), check plugins (check PACKAGE...), list what is registered (list).',
  positionals: 'new NAME | check PACKAGE... | list',
  args,
  async run(given, { positionals }) {
    const [what, ...names] = positionals;
    if (what === 'new' && names.length === 1) return create(names[0]!, given.kind, given.out, given.json);
    if (what === 'check' && names.length > 0) return check(names, given.json);
    if (what === 'list' && names.length === 0) return list(given.json);
    const near = what === undefined ? undefined : nearest(what, ['new', 'check', 'list']);
    throw new QuerentError('QRT_USAGE', `\`querent plugin\` was given ${positionals.length === 0 ? 'nothing to do' : JSON.stringify(positionals.join(' '))}.`, {
      fix: near === undefined || near === what ? 'querent plugin new NAME --kind task; querent plugin check PACKAGE; querent plugin list.' : `Did you mean querent plugin ${near}?`,
    });
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

async function create(given: string, kind: string, out: string | undefined, isJson: boolean): Promise<number> {
  const { name, packageName, kind: known, folder, shown } = await createPlugin(given, { kind, out });
  if (isJson) printJson({ name, package: packageName, kind: known, folder });
  else {
    printLine(folder);
    note(`Next: cd ${shown} && npm install && npm test. README.md says the rest.`);
  }
  return 0;
}

async function check(names: readonly string[], isJson: boolean): Promise<number> {
  const { importPlugins } = await import('querent');
  for (const name of names) {
    for (const { kind, name: plugin, description } of await importPlugins([name])) {
      if (isJson) printJson({ source: name, kind, name: plugin, description });
      else printLine(`${name}   ${kind} ${plugin}   keeps its contract${description === undefined ? '; it has no description' : ''}`);
    }
  }
  return 0;
}

async function list(isJson: boolean): Promise<number> {
  await using querent = await openQuerent();
  for (const kind of PLUGIN_KINDS) {
    for (const { name, description } of querent.registry.list(kind)) {
      if (isJson) printJson({ kind, name, description });
      else printLine(`${kind.padEnd(14)} ${name.padEnd(28)} ${description ?? ''}`.trimEnd());
    }
  }
  return 0;
}
