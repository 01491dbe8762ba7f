/**
 * What is generated from the recipes' schemas: one JSON Schema file a kind, for editors (`"$schema"` at the top of a recipe),
 * and the tables of `docs/training.md`. `scripts/write-schemas.mjs` writes them; a test holds them current.
 */
import type { JsonSchema } from '@querent/core';
import { isJsonObject } from '@querent/hub';
import { recipeSchemas } from './schemas.ts';

/** File name → its text. `recipe.json` takes any kind. */
export function schemaFiles(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const [kind, schema] of Object.entries(recipeSchemas)) {
    files.set(`${kind}.json`, toText({ $schema: DRAFT, title: `Querent recipe: ${kind}`, ...schema }));
  }
  const kinds = { type: 'object', properties: { kind: { enum: Object.keys(recipeSchemas), description: 'What the recipe trains.' } }, required: ['kind'] };
  const choices = Object.keys(recipeSchemas).map((kind) => ({ $ref: `./${kind}.json` }));
  files.set('recipe.json', toText({ $schema: DRAFT, title: 'Querent recipe', ...kinds, oneOf: choices }));
  return files;
}

const DRAFT = 'http://json-schema.org/draft-07/schema#';

function toText(document: object): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** A heading and a table of keys for each kind, in Markdown. */
export function recipeKeysMarkdown(): string {
  return Object.entries(recipeSchemas)
    .map(([kind, schema]) => [`### \`${kind}\``, '', '| key | value | |', '| --- | --- | --- |', ...rows(schema)].join('\n'))
    .join('\n\n');
}

function rows(schema: JsonSchema, path = ''): string[] {
  const required = new Set(Array.isArray(schema['required']) ? schema['required'] : []);
  return Object.entries(objectOf(schema['properties'])).flatMap(([key, value]) => {
    if (key === '$schema') return [];
    const property = objectOf(value);
    const name = `${path}${key}`;
    const description = typeof property['description'] === 'string' ? property['description'] : '';
    const row = `| ${required.has(key) && path === '' ? `**\`${name}\`**` : `\`${name}\``} | ${typeText(property)} | ${description.replaceAll('|', '\\|')} |`;
    return [row, ...(property['type'] === 'object' ? rows(property, `${name}.`) : [])];
  });
}

function typeText(property: JsonSchema): string {
  if (property['const'] !== undefined) return `\`${JSON.stringify(property['const'])}\``;
  if (Array.isArray(property['enum'])) return property['enum'].map((value) => `\`${JSON.stringify(value)}\``).join(', ');
  if (Array.isArray(property['oneOf']) && property['type'] === undefined) {
    return property['oneOf'].map((branch) => `\`{ ${Object.entries(objectOf(objectOf(branch)['properties'])).map(([key, value]) => keyText(key, objectOf(value), objectOf(branch))).join(', ')} }\``).join(' or ');
  }
  if (property['type'] === 'array') return `list of ${typeText(objectOf(property['items']))}`;
  return `${String(property['type'])}${rangeText(property)}`;
}

function keyText(key: string, value: JsonSchema, branch: JsonSchema): string {
  const isRequired = Array.isArray(branch['required']) && branch['required'].includes(key);
  return `${key}${isRequired ? '' : '?'}${value['const'] === undefined ? '' : `: ${JSON.stringify(value['const'])}`}`;
}

function rangeText(property: JsonSchema): string {
  const low = property['minimum'] === undefined ? (property['exclusiveMinimum'] === undefined ? '' : ` > ${String(property['exclusiveMinimum'])}`) : ` ≥ ${String(property['minimum'])}`;
  const high = property['maximum'] === undefined ? (property['exclusiveMaximum'] === undefined ? '' : ` < ${String(property['exclusiveMaximum'])}`) : ` ≤ ${String(property['maximum'])}`;
  return `${low}${low !== '' && high !== '' ? ',' : ''}${high}`;
}

function objectOf(value: unknown): JsonSchema {
  return isJsonObject(value) ? value : {};
}

/** Puts `generated` between the two marks of a document. @throws RangeError when it has no marks. */
export function withGenerated(document: string, generated: string): string {
  const [start, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (start < 0 || end < start) throw new RangeError(`the document has no ${BEGIN} … ${END}`);
  return `${document.slice(0, start + BEGIN.length)}\n\n${generated}\n\n${document.slice(end)}`;
}

const BEGIN = '<!-- generated: recipe keys -->';
const END = '<!-- end of generated -->';
