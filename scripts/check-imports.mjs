/**
 * Fails when an import points against an arrow of docs/architecture.md. The arrows stand here and in each package's
 * dependencies; both must agree, and an import must follow both. Only core/src/di and querent may import inversify. What a package
 * imports it must depend on, and of ours only what `exports` names.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Package → packages of ours that it may import. */
export const ARROWS = {
  core: [],
  graph: ['core'],
  hub: ['core'],
  images: ['core'],
  'engine-onnx': ['core', 'graph'],
  'engine-tfjs': ['core', 'graph'],
  encoders: ['core', 'graph', 'images'],
  qformer: ['core', 'graph'],
  'llm-adapters': ['core', 'graph', 'hub'],
  tasks: ['core', 'graph'],
  training: ['core', 'graph', 'hub', 'images'],
  evaluation: ['core'],
  'store-qdrant': ['core'],
  mini: [],
  querent: ['core', 'graph', 'hub', 'images', 'engine-onnx', 'engine-tfjs', 'encoders', 'qformer', 'llm-adapters', 'tasks', 'training', 'evaluation', 'mini'],
  'create-querent-plugin': ['core'],
  cli: ['core', 'create-querent-plugin', 'querent'],
};

const IMPORT = /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)\s*import\s*['"]([^'"]+)['"]/g;

/** The folder of a package of ours, or undefined for anything else. */
function ours(specifier) {
  if (/^(querent|create-querent-plugin)(\/|$)/.test(specifier)) return specifier.split('/')[0];
  return /^@querent\/([^/]+)/.exec(specifier)?.[1];
}

function sources(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === 'node_modules' || entry.name === 'dist') return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return /\.(ts|mjs)$/.test(entry.name) ? [path] : [];
  });
}

function imports(file) {
  const text = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  return [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3]);
}

const readManifest = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));

/** `pkg` or `@scope/pkg` of a specifier. */
const packageOf = (specifier) => specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');

/** Whether the manifest's `exports` name this subpath of it (`.`, `./train`, `./schema/a.json`). */
function exportsPath(manifest, specifier) {
  const subpath = `.${specifier.slice(packageOf(specifier).length)}`;
  return Object.keys(manifest.exports ?? {}).some((key) => {
    const [start = '', end] = key.split('*');
    return end === undefined ? key === subpath : subpath.startsWith(start) && subpath.endsWith(end);
  });
}

/** One line a mistake. */
export function checkImports(root = ROOT) {
  const mistakes = [];
  for (const name of readdirSync(join(root, 'packages'))) {
    const folder = join(root, 'packages', name);
    const allowed = ARROWS[name];
    const manifest = readManifest(folder);
    if (allowed === undefined) {
      mistakes.push(`packages/${name} has no arrows: add it to scripts/check-imports.mjs.`);
      continue;
    }
    const installed = { ...manifest.dependencies, ...manifest.peerDependencies };
    const declared = Object.keys(manifest.dependencies ?? {}).flatMap((dependency) => ours(dependency) ?? []);
    for (const dependency of declared) {
      if (!allowed.includes(dependency)) mistakes.push(`packages/${name}/package.json depends on ${dependency}: against the arrows.`);
    }
    for (const file of sources(folder)) {
      const isTest = /\.test(-helper|-d)?\.ts$/.test(file) || file.includes(`${sep}test${sep}`) || !file.includes(`${sep}src${sep}`);
      for (const specifier of imports(file)) {
        const where = relative(root, file);
        if (specifier.startsWith('.')) {
          if (!resolve(dirname(file), specifier).startsWith(folder + sep) && !isTest) mistakes.push(`${where} reaches into another package by the path ${specifier}: import it by name.`);
          continue;
        }
        if (/^inversify($|\/)/.test(specifier) && !where.startsWith(join('packages', 'core', 'src', 'di') + sep) && name !== 'querent') {
          mistakes.push(`${where} imports inversify: only packages/core/src/di and packages/querent may.`);
        }
        const target = ours(specifier);
        if (target === name || isTest) continue; // tests may look at anything
        if (target === undefined) {
          if (!isBuiltin(specifier) && installed[packageOf(specifier)] === undefined) mistakes.push(`${where} imports ${specifier}, which packages/${name}/package.json does not list.`);
          continue;
        }
        const other = join(root, 'packages', target);
        if (existsSync(join(other, 'package.json')) && !exportsPath(readManifest(other), specifier)) mistakes.push(`${where} imports ${specifier}: ${target} does not export that path.`);
        if (!allowed.includes(target)) mistakes.push(`${where} imports ${specifier}: no arrow leads from ${name} to ${target}.`);
        else if (!declared.includes(target)) mistakes.push(`${where} imports ${specifier}, which packages/${name}/package.json does not list.`);
      }
    }
  }
  return mistakes;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const mistakes = checkImports();
  for (const line of mistakes) process.stderr.write(`${line}\n`);
  process.exitCode = mistakes.length > 0 ? 1 : 0;
}
