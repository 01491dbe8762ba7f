/** The files of a fresh plugin: a package that builds, tests and packs by itself. What is in its one source file is in `kinds.ts`. */
import { readFile } from 'node:fs/promises';
import { QuerentError } from '@querent/core';
import { readTemplate } from './kinds.ts';
import type { TemplateKind } from './kinds.ts';

/** Compilers that the template was tried with. */
const TYPESCRIPT = '7.0.2';
const NODE_TYPES = '20.19.25';

export interface NewPlugin {
  /** What calls, configs and commands ask for: `alt-text`. */
  readonly name: string;
  /** `querent-plugin-alt-text` */
  readonly packageName: string;
  readonly kind: TemplateKind;
}

/**
 * `alt-text`, `querent-plugin-alt-text` and `@me/querent-plugin-alt-text` are all the plugin `alt-text`.
 *
 * @throws QuerentError QRT_USAGE for a name that npm or the command line could not take.
 */
export function pluginNames(given: string): { readonly name: string; readonly packageName: string } {
  const [, scope = '', rest = ''] = /^(@[a-z0-9][\w.-]*\/)?(.*)$/s.exec(given) ?? [];
  const name = rest.replace(/^querent-plugin-/, '');
  if (!/^[a-z][a-z0-9]*([-_][a-z0-9]+)*$/.test(name) || name.length > 100) {
    throw new QuerentError('QRT_USAGE', `${JSON.stringify(given)} cannot be a plugin's name.`, { fix: 'Small letters, digits and hyphens, a letter first: alt-text.' });
  }
  return { name, packageName: `${scope}querent-plugin-${name}` };
}

/** Path → text. Versions of Querent are exactly this one's. */
export async function templateFiles(plugin: NewPlugin): Promise<ReadonlyMap<string, string>> {
  const version = await ownVersion();
  const { source, test } = await readTemplate(plugin.kind, plugin.name);
  return new Map([
    ['package.json', json(manifest(plugin, version))],
    ['tsconfig.json', json(TSCONFIG)],
    ['.gitignore', 'node_modules/\ndist/\n*.tgz\n'],
    ['src/index.ts', source],
    ['test/index.test.js', test],
    ['README.md', readme(plugin)],
  ]);
}

async function ownVersion(): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '0.0.0';
}

/** Packages of Querent that the source of a kind imports beside core. */
const ALSO: Readonly<Record<TemplateKind, readonly string[]>> = {
  task: [],
  metric: [],
  dataset: [],
  objective: ['@querent/graph'],
  encoder: ['@querent/graph'],
  'language-model': ['@querent/graph', '@querent/llm-adapters'],
};

function manifest({ name, packageName, kind }: NewPlugin, version: string): object {
  const peers = Object.fromEntries(['@querent/core', ...ALSO[kind]].map((one) => [one, version]));
  const tools = { '@querent/cli': version, '@querent/graph': version, querent: version, ...peers };
  return {
    name: packageName,
    version: '0.1.0',
    description: `The ${kind} ${name} for Querent.`,
    keywords: ['querent-plugin', 'querent'],
    license: 'Apache-2.0',
    type: 'module',
    exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' }, './package.json': './package.json' },
    files: ['dist'],
    engines: { node: '>=20.20' },
    scripts: { build: 'tsc', test: 'tsc && node --test', prepack: 'tsc' },
    peerDependencies: peers,
    devDependencies: { ...Object.fromEntries(Object.entries(tools).sort(([a], [b]) => (a < b ? -1 : 1))), '@types/node': NODE_TYPES, typescript: TYPESCRIPT },
  };
}

const TSCONFIG = {
  compilerOptions: {
    target: 'ES2022',
    lib: ['ES2023', 'ESNext.Disposable', 'DOM'],
    types: ['node'],
    module: 'nodenext',
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    verbatimModuleSyntax: true,
    skipLibCheck: true,
    declaration: true,
    rootDir: 'src',
    outDir: 'dist',
  },
  include: ['src'],
};

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** How somebody tries the plugin, by kind. */
const USE: Readonly<Record<TemplateKind, (name: string, packageName: string) => string>> = {
  task: (name, packageName) => `npx querent ${name} photo.jpg --plugin ${packageName}`,
  metric: (name, packageName) => `npx querent evaluate caption --metric ${name} --model DIR --images DIR --annotations FILE --plugin ${packageName}`,
  dataset: (_, packageName) => `npx querent train recipe.json --plugin ${packageName}`,
  objective: (_, packageName) => `npx querent train recipe.json --plugin ${packageName}`,
  encoder: (_, packageName) => `npx querent inspect MODEL --plugin ${packageName}`,
  'language-model': (_, packageName) => `npx querent inspect MODEL --plugin ${packageName}`,
};

/** Where the plugin's name is written, for the kinds that a document asks for. */
const NAMED: Readonly<Record<TemplateKind, (name: string) => string>> = {
  task: (name) => `In code: \`pipeline('${name}', { plugins: ['PACKAGE'] })\`.`,
  metric: () => '',
  dataset: (name) => `In a recipe: \`"annotations": { "dataset": "${name}", "config": { … }, "splits": ["train"] }\`.`,
  objective: (name) => `In a recipe of kind stage1 or stage2: \`"objectives": [{ "name": "${name}", "weight": 0.1 }]\`.`,
  encoder: (name) => `In a model's config.json: \`"vision_config": { "model_type": "${name}", … }\`.`,
  'language-model': (name) => `In a model's config.json: \`"text_config": { "model_type": "${name}", … }\`.`,
};

function readme({ name, packageName, kind }: NewPlugin): string {
  const named = NAMED[kind](name).replace('PACKAGE', packageName);
  return `# ${packageName}

The ${kind} \`${name}\` for [Querent](https://www.npmjs.com/package/querent).

\`\`\`sh
npm install       # once; with --onnxruntime-node-install=skip it leaves out NVIDIA's libraries
npm test          # builds, then tests with a real engine
npx querent plugin check ${packageName}
${USE[kind](name, packageName)}
npm pack          # the package that you would publish
\`\`\`

${named === '' ? '' : `${named}\n\n`}A config or recipe may name the package itself, \`"plugins": ["${packageName}"]\`: the keyword \`querent-plugin\` in package.json
allows it. Everything is in \`src/index.ts\`; \`test/index.test.js\` holds it to its contract. The version of @querent/core is exact: raise it
when you have run the tests with the new one.
`;
}
