/** The model that is there without being asked for: of `@querent/mini` where it is installed, else of the repository that this runs in. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { QuerentError } from '@querent/core';
import type { ModelCapability } from '@querent/core';

/** Folders of the embedded models: one writes, one compares. */
const GENERATING = 'querent-mini';
const RETRIEVING = 'querent-mini-retrieval';
const PACKAGE = '@querent/mini';

/**
 * The folder of the embedded model that can do what is required.
 *
 * @throws QuerentError QRT_FILE when there is none.
 */
export function defaultModel(requires: readonly ModelCapability[] = []): string {
  const reads = requires.some((one) => one === 'match' || one === 'embed' || one === 'attend'); // a text beside the image
  const name = reads ? RETRIEVING : GENERATING;
  for (const folder of candidates(name)) if (existsSync(join(folder, 'config.json'))) return folder;
  throw new QuerentError('QRT_FILE', `The embedded model ${name} is not here: ${PACKAGE} is not installed, and no folder above holds models/${name}.`, {
    fix: `Install it (npm install ${PACKAGE}), or name a model folder: { model: 'path/to/model' }.`,
    details: { name },
  });
}

function* candidates(name: string): Generator<string> {
  const installed = packageFolder();
  if (installed !== undefined) yield* [join(installed, name), join(installed, 'models', name)];
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let above = dirname(folder); above !== folder; above = dirname(folder)) {
    yield join(folder, 'models', name);
    folder = above;
  }
}

function packageFolder(): string | undefined {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${PACKAGE}/package.json`));
  } catch {
    return undefined; // not installed
  }
}
