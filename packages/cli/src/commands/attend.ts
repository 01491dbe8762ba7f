/** `querent attend PHOTO [TEXT] --out heat.png`: where the queries looked, as a picture, as numbers, or both. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { QuerentError } from '@querent/core';
import { JSON_ARG, MODEL_ARGS, defineCliCommand } from '../command.ts';
import type { Command } from '../command.ts';
import { photosOf } from '../inputs.ts';
import { printJson, printLine } from '../output.ts';
import { querentOptions } from '../session.ts';

const args = {
  out: { type: 'string', description: 'The PNG to write: the maps over the photograph, in reading order.', valueHint: 'FILE' },
  'per-query': { type: 'boolean', description: 'A map for each query, instead of their mean.', default: false },
  model: { type: 'string', description: 'Model folder; the embedded querent-mini-retrieval when absent.', valueHint: 'DIR' },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'attend',
  description: "Draw which patches of a photograph the queries looked at: on their own, or for each word of a text.",
  positionals: 'PHOTO [TEXT]',
  args,
  async run(given, { signal, positionals }) {
    const [name, ...words] = positionals;
    if (name === undefined) throw new QuerentError('QRT_USAGE', 'No photograph is named.', { fix: 'querent attend photo.jpg "a brown dog" --out heat.png' });
    if (given.out === undefined && !given.json) throw new QuerentError('QRT_USAGE', 'There is nowhere to draw to.', { fix: 'Name a file with --out heat.png, or ask for the numbers with --json.' });
    const photos = photosOf([name]);
    const first = await photos.next();
    if (first.done === true || (await photos.next()).done !== true) throw new QuerentError('QRT_USAGE', `${name} is not one photograph.`, { fix: 'Name one file.' });
    const { pipeline } = await import('querent');
    await using attend = await pipeline('attend', { ...(await querentOptions(given)), ...(given.model === undefined ? {} : { model: given.model }), signal });
    const text = words.join(' ');
    const { maps, png } = await attend({ image: first.value.image, text, perQuery: given['per-query'] }, { signal });
    if (given.out !== undefined) {
      if (png === undefined) throw new QuerentError('QRT_MODEL_UNSUPPORTED', 'This model cannot draw.', { fix: 'Ask for the numbers with --json.' });
      await writeWhole(given.out, png);
    }
    if (given.json) printJson({ image: name, text, maps });
    else printLine(`${given.out}   ${maps.map(({ word, query }) => [word, query].filter((one) => one !== undefined).join(' ') || 'all queries').join(', ')}`);
    return 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

/** The file is there whole or not at all. @throws QuerentError QRT_FILE */
async function writeWhole(file: string, bytes: Uint8Array): Promise<void> {
  const partial = `${file}.${process.pid}.partial`;
  try {
    await writeFile(partial, bytes);
    await rename(partial, file);
  } catch (cause) {
    await rm(partial, { force: true });
    throw new QuerentError('QRT_FILE', `${file} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Check the path and its permissions.', details: { file }, cause });
  }
}
