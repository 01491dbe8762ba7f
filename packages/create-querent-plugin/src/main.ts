/** The words of `npm create querent-plugin` to a folder: no installation of Querent is needed for it. */
import { parseArgs } from 'node:util';
import { isQuerentError } from '@querent/core';
import { createPlugin } from './create-plugin.ts';
import { TEMPLATE_KINDS } from './kinds.ts';

const HELP = `npm create querent-plugin NAME -- [--kind KIND] [--out DIR]

  NAME        alt-text, or the package's whole name: @me/querent-plugin-alt-text
  --kind      ${TEMPLATE_KINDS.join(', ')}. Default task.
  --out       the folder to write; querent-plugin-NAME when absent
`;

/**
 * Runs one command line.
 *
 * @returns the exit code: 0 done, 1 failed, 2 called wrongly; nothing is thrown.
 */
export async function main(words: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parseArgs({ args: [...words], allowPositionals: true, options: { kind: { type: 'string' }, out: { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
    const [name, ...rest] = positionals;
    if (values.help === true) {
      process.stdout.write(HELP);
      return 0;
    }
    if (name === undefined || rest.length > 0) {
      process.stderr.write(name === undefined ? HELP : `One name was expected, these are ${positionals.length}: ${positionals.join(' ')}. Options come after --.\n`);
      return 2;
    }
    const { folder, shown } = await createPlugin(name, values);
    process.stdout.write(`${folder}\n`);
    process.stderr.write(`Next: cd ${shown} && npm install && npm test. README.md says the rest.\n`);
    return 0;
  } catch (error) {
    if (isQuerentError(error)) {
      process.stderr.write(`error ${error.code}\n  ${[error.message, error.fix].filter((part) => part !== undefined).join(' ')}\n`);
      return error.code === 'QRT_USAGE' ? 2 : 1;
    }
    process.stderr.write(`error\n  ${error instanceof Error ? error.message : String(error)}\n`); // an option that there is not
    return 2;
  }
}
