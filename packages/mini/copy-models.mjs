/** Before packing: the repository's models/ become this package's, so that the weights lie in git once. */
import { cpSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const target = fileURLToPath(new URL('./models', import.meta.url));
rmSync(target, { recursive: true, force: true });
cpSync(fileURLToPath(new URL('../../models', import.meta.url)), target, {
  recursive: true,
  filter: (source) => basename(source) !== '.querent', // weights in other precisions, made where they were asked for
});
