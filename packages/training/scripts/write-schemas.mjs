/** Writes `schema/*.json` and the tables of `docs/training.md` from the built package: `pnpm build && node packages/training/scripts/write-schemas.mjs`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { recipeKeysMarkdown, schemaFiles, withGenerated } from '../dist/recipes/schema-files.js';

const folder = new URL('../schema/', import.meta.url);
mkdirSync(folder, { recursive: true });
for (const [name, text] of schemaFiles()) writeFileSync(new URL(name, folder), text);
const docs = new URL('../../../docs/training.md', import.meta.url);
writeFileSync(docs, withGenerated(readFileSync(docs, 'utf8'), recipeKeysMarkdown()));
