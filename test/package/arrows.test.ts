/** Imports follow the arrows, and the check that says so finds what does not. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { checkImports } from '../../scripts/check-imports.mjs';

it('no import of this repository points against an arrow', () => {
  expect(checkImports()).toEqual([]);
});

it('an import against an arrow, a path into another package, inversify outside the root, an undeclared package and a path that is not exported are found', async () => {
  const root = await mkdtemp(join(tmpdir(), 'querent-arrows-'));
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  };
  try {
    await write('packages/tasks/package.json', JSON.stringify({ dependencies: { '@querent/core': '*', '@querent/qformer': '*' } }));
    await write('packages/tasks/src/a.ts', "import { x } from '@querent/encoders';\nimport type { y } from '@querent/graph';\n// import '@querent/hub'\n");
    await write('packages/tasks/src/b.ts', "import { z } from '../../core/src/z.ts';\nexport { c } from 'inversify';\nconst later = await import('@querent/training');\n");
    await write('packages/tasks/src/c.test.ts', "import { x } from '@querent/encoders';\n");
    await write('packages/querent/package.json', JSON.stringify({ exports: { '.': './a.js', './train': './t.js', './schema/*.json': './s/*.json' }, dependencies: { rxjs: '*' } }));
    await write('packages/cli/package.json', JSON.stringify({ dependencies: { querent: '*' }, peerDependencies: { citty: '*' } }));
    await write('packages/cli/src/d.ts', "import 'querent';\nimport 'querent/train';\nimport 'querent/schema/x.json';\nimport 'querent/dist/secret.js';\nimport { readFileSync } from 'node:fs';\nimport 'citty';\nimport { map } from 'rxjs/operators';\n");
    const mistakes = checkImports(root).join('\n');
    expect(mistakes).toContain('package.json depends on qformer');
    expect(mistakes).toContain('a.ts imports @querent/encoders');
    expect(mistakes).toContain('a.ts imports @querent/graph, which packages/tasks/package.json does not list');
    expect(mistakes).toContain('b.ts reaches into another package');
    expect(mistakes).toContain('b.ts imports inversify');
    expect(mistakes).toContain('b.ts imports @querent/training');
    expect(mistakes).toContain('d.ts imports querent/dist/secret.js: querent does not export that path');
    expect(mistakes).toContain('d.ts imports rxjs/operators, which packages/cli/package.json does not list');
    expect(mistakes.match(/d\.ts/g)).toHaveLength(2);
    expect(mistakes).not.toContain('hub');
    expect(mistakes).not.toContain('c.test.ts');
  } finally {
    await rm(root, { recursive: true });
  }
});
