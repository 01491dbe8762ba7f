/** The documentation site builds, with the reference of every package, and no link in it is dead. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { buildSite } from '../../scripts/docs/build.mjs';
import { deadLinks } from '../../scripts/docs/links.mjs';
import { temporary } from '../e2e/command-line.ts';

it('the site builds from the pages and the sources, and its links lead somewhere', async () => {
  await using out = await temporary();
  const { pages, dead } = await buildSite(out.path);
  expect(dead).toEqual([]);
  expect(pages).toBeGreaterThan(30);
  expect(await readFile(join(out.path, 'docs', 'architecture.html'), 'utf8')).toContain('<title>Architecture · Querent</title>');
  expect(await readFile(join(out.path, 'api', 'functions', 'querent_src.pipeline.html'), 'utf8')).toContain('Loads a model for a task.');
}, 900_000);

it('a link to a page or a part of a page that is not there is found', async () => {
  await using out = await temporary();
  await mkdir(join(out.path, 'a'));
  await writeFile(join(out.path, 'index.html'), '<a href="a/b.html#here">x</a><a href="a/b.html#gone">x</a><a href="c.html">x</a><a href="https://example.org/#z">x</a><img src="p.jpg">');
  await writeFile(join(out.path, 'a', 'b.html'), '<h1 id="here">x</h1><a href="../index.html">x</a><a href="#here">x</a>');
  expect(await deadLinks(out.path)).toEqual(['index.html: a/b.html#gone: the page has no such part.', 'index.html: c.html is not there.', 'index.html: p.jpg is not there.']);
});
