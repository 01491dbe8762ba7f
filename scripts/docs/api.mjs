/**
 * The API reference: TypeDoc over each package's entry points, read from the sources. TypeDoc reads TypeScript up to 6, the
 * sources are compiled by 7: so this folder is a package with a compiler of its own, and types are not checked here again.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Application, LogLevel } from 'typedoc';

/** The source of every entry of every package's `exports`. */
async function entryPoints(root) {
  const entries = [];
  for (const name of (await readdir(join(root, 'packages'))).sort()) {
    const manifest = JSON.parse(await readFile(join(root, 'packages', name, 'package.json'), 'utf8'));
    for (const target of Object.values(manifest.exports ?? {})) if (target['querent-source']) entries.push(join(root, 'packages', name, target['querent-source']));
  }
  return entries;
}

/** Writes the reference into `out`. @throws Error when TypeDoc cannot read the sources */
export async function buildApi(root, out) {
  const app = await Application.bootstrap({
    name: 'Querent',
    entryPoints: await entryPoints(root),
    tsconfig: join(root, 'scripts', 'docs', 'tsconfig.json'),
    basePath: join(root, 'packages'),
    displayBasePath: join(root, 'packages'),
    readme: 'none',
    out,
    skipErrorChecking: true,
    disableSources: true,
    excludePrivate: true,
    excludeInternal: true,
    excludeExternals: true,
    excludeReferences: false,
    githubPages: false,
    hideGenerator: true,
    includeHierarchySummary: false,
    logLevel: LogLevel.Error,
    blockTags: ['@param', '@returns', '@throws', '@example', '@experimental', '@typeParam', '@see', '@remarks', '@deprecated'],
    modifierTags: ['@experimental', '@internal'],
  });
  const project = await app.convert();
  if (project === undefined || app.logger.hasErrors()) throw new Error('TypeDoc could not read the sources.');
  await app.generateDocs(project, out);
  return project;
}
