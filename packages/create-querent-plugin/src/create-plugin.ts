/** A new folder with a plugin's first files. What is in them: `template.ts`. */
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { QuerentError, nearest } from '@querent/core';
import { TEMPLATE_KINDS } from './kinds.ts';
import type { TemplateKind } from './kinds.ts';
import { pluginNames, templateFiles } from './template.ts';

export interface CreatedPlugin {
  /** What calls, configs and commands ask for: `alt-text`. */
  readonly name: string;
  /** `querent-plugin-alt-text` */
  readonly packageName: string;
  readonly kind: TemplateKind;
  /** Where it is, as an absolute path. */
  readonly folder: string;
  /** The same as it was asked for. */
  readonly shown: string;
}

/**
 * Writes a package that builds, tests and packs by itself.
 *
 * @param given `alt-text`, or the package's whole name: `@me/querent-plugin-alt-text`
 * @param options.kind one of {@link TEMPLATE_KINDS}; `task` when absent
 * @param options.out the folder; `querent-plugin-NAME` in the working directory when absent
 * @throws QuerentError QRT_USAGE for a name or kind that cannot be, QRT_FILE when something is there or it cannot be written: then nothing is.
 */
export async function createPlugin(given: string, { kind = 'task', out }: { readonly kind?: string | undefined; readonly out?: string | undefined } = {}): Promise<CreatedPlugin> {
  const known = TEMPLATE_KINDS.find((one) => one === kind);
  if (known === undefined) {
    const near = nearest(kind, TEMPLATE_KINDS);
    throw new QuerentError('QRT_USAGE', `--kind is ${JSON.stringify(kind)}; there are templates for ${TEMPLATE_KINDS.join(', ')}.`, { fix: near === undefined ? 'docs/plugins.md says how the other kinds are written.' : `Did you mean ${near}?` });
  }
  const { name, packageName } = pluginNames(given);
  const shown = out ?? packageName.replace(/^@[^/]+\//, '');
  const folder = resolve(shown);
  await writeFolder(folder, await templateFiles({ name, packageName, kind: known }));
  return { name, packageName, kind: known, folder, shown };
}

/** Whole or not at all: written beside the place, then moved there. @throws QuerentError QRT_FILE when something is there. */
async function writeFolder(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  const there = await readdir(folder).catch(() => []);
  if (there.length > 0) throw new QuerentError('QRT_FILE', `${folder} is not empty: nothing was written.`, { fix: 'Choose another name, or another folder with --out DIR.', details: { folder } });
  try {
    await mkdir(dirname(folder), { recursive: true });
    const draft = await mkdtemp(join(dirname(folder), '.querent-plugin-'));
    try {
      for (const [file, text] of files) {
        await mkdir(dirname(join(draft, file)), { recursive: true });
        await writeFile(join(draft, file), text);
      }
      await rename(draft, folder);
    } catch (error) {
      await rm(draft, { recursive: true, force: true });
      throw error;
    }
  } catch (cause) {
    throw new QuerentError('QRT_FILE', `${folder} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Check that its parent may be written, or choose another with --out DIR.', cause });
  }
}
