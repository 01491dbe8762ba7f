/**
 * Builds the documentation site: the pages of docs/ and of the packages as HTML, and the API reference by TypeDoc, into docs-site/.
 * `node scripts/docs/build.mjs [FOLDER] [--no-api]`. Plain files, no server: open index.html. It fails on a link that leads nowhere.
 */
import { mkdir, readFile, readdir, rm, writeFile, copyFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { basename, dirname, join, posix } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Marked } from 'marked';
import { buildApi } from './api.mjs';
import { deadLinks } from './links.mjs';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The pages, as paths from the root, in the order of the menu. */
async function pages() {
  const docs = (await readdir(join(ROOT, 'docs'), { recursive: true })).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`).sort();
  const packages = (await readdir(join(ROOT, 'packages'))).sort().map((name) => `packages/${name}/README.md`).filter((page) => existsSync(join(ROOT, page)));
  const models = (await readdir(join(ROOT, 'models'))).sort().map((name) => `models/${name}/README.md`).filter((page) => existsSync(join(ROOT, page)));
  return { docs: ['README.md', ...docs], packages, models, others: ['CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md', 'test/photos/README.md'].filter((page) => existsSync(join(ROOT, page))) };
}

/** Where a page lies in the site: `docs/a.md` → `docs/a.html`, a README → the `index.html` of its folder. */
function siteFile(page) {
  return page.replace(/README\.md$/, 'index.html').replace(/\.md$/, '.html');
}

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** HTML of a page and its title. Links between pages lead to their HTML; files that are no pages are left out as plain text. */
function render(page, text, known, assets) {
  const body = text.replace(/^---\n[\s\S]*?\n---\n/, ''); // a model card begins with its metadata
  const slugs = new Map();
  const target = (href) => {
    if (/^[a-z]+:|^#/i.test(href)) return href;
    const [path = '', hash] = href.split('#');
    const file = posix.normalize(posix.join(posix.dirname(page), path)).replace(/\/$/, '');
    const found = [file, `${file}/README.md`, `${file}/index.md`].find((name) => known.has(name));
    if (found !== undefined) return posix.relative(posix.dirname(siteFile(page)), siteFile(found)) + (hash === undefined ? '' : `#${hash}`);
    if (!/\.(jpe?g|png|svg|gif)$/i.test(file)) return undefined;
    assets.add(file);
    return posix.relative(posix.dirname(siteFile(page)), file);
  };
  const marked = new Marked({
    renderer: {
      link({ href, tokens }) {
        const to = target(href);
        const inner = this.parser.parseInline(tokens);
        return to === undefined ? inner : `<a href="${escape(to)}">${inner}</a>`;
      },
      image({ href, text: alt }) {
        return `<img src="${escape(target(href) ?? href)}" alt="${escape(alt)}">`;
      },
      html({ text: html }) {
        return html.replace(/src="([^"]+)"/g, (_, src) => `src="${escape(target(src) ?? src)}"`);
      },
      heading({ tokens, depth, text: plain }) {
        const slug = plain.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-');
        const count = slugs.get(slug) ?? 0;
        slugs.set(slug, count + 1);
        return `<h${depth} id="${escape(count === 0 ? slug : `${slug}-${count}`)}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
      },
    },
  });
  return { title: /^# (.+)$/m.exec(body)?.[1]?.replaceAll('`', '') ?? basename(page), html: marked.parse(body) };
}

const STYLE = `body{margin:0;font:16px/1.55 system-ui,sans-serif;color:#1d2129;display:grid;grid-template-columns:15rem minmax(0,1fr)}
nav{padding:1.5rem 1rem;background:#f5f6f8;min-height:100vh;font-size:.9rem}nav b{display:block;margin:1rem 0 .3rem}nav a{display:block;color:#335;text-decoration:none;padding:.1rem 0}
nav a[aria-current]{font-weight:600}main{padding:1.5rem 2.5rem;max-width:54rem}main a{color:#0b57d0}pre{background:#f5f6f8;padding:.8rem 1rem;overflow:auto;border-radius:6px}code{font:.88em ui-monospace,monospace}
table{border-collapse:collapse;display:block;overflow:auto}td,th{border:1px solid #d9dce1;padding:.3rem .6rem;text-align:left;vertical-align:top}img{max-width:100%}
@media(max-width:50rem){body{display:block}nav{min-height:0}}@media(prefers-color-scheme:dark){body{background:#15181d;color:#e3e6ea}nav,pre{background:#1e2228}nav a{color:#b9c4d6}main a{color:#8ab4f8}td,th{border-color:#3a404a}}`;

function menu(page, groups, titles, hasApi) {
  const here = posix.dirname(siteFile(page));
  const link = (name, title, current) => `<a href="${posix.relative(here, name)}"${current ? ' aria-current="page"' : ''}>${escape(title)}</a>`;
  const group = ([heading, names]) => `<b>${heading}</b>${names.map((name) => link(siteFile(name), titles.get(name), name === page)).join('')}`;
  return groups.filter(([, names]) => names.length > 0).map(group).join('') + (hasApi ? `<b>Reference</b>${link('api/index.html', 'API', false)}` : '');
}

/** Builds the site into `out`. @returns {Promise<{ pages: number, dead: string[] }>} how many pages, and links that lead nowhere */
export async function buildSite(out, { api = true } = {}) {
  const found = await pages();
  const all = Object.values(found).flat();
  const [known, assets] = [new Set(all), new Set()];
  const rendered = new Map();
  for (const page of all) rendered.set(page, render(page, await readFile(join(ROOT, page), 'utf8'), known, assets));
  const titles = new Map([...rendered].map(([page, { title }]) => [page, title]));
  const decisions = found.docs.filter((page) => page.startsWith('docs/decisions/'));
  const groups = [['Pages', found.docs.filter((page) => !decisions.includes(page))], ['Packages', found.packages], ['Models', found.models], ['Decisions', decisions], ['Project', found.others]];

  await rm(out, { recursive: true, force: true });
  for (const [page, { title, html }] of rendered) {
    const file = join(out, siteFile(page));
    await mkdir(dirname(file), { recursive: true });
    const head = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(title)} · Querent</title><style>${STYLE}</style>`;
    await writeFile(file, `${head}<nav>${menu(page, groups, titles, api)}</nav><main>${html}</main></html>\n`);
  }
  for (const asset of assets) {
    if (!existsSync(join(ROOT, asset))) continue; // the link check names it
    await mkdir(dirname(join(out, asset)), { recursive: true });
    await copyFile(join(ROOT, asset), join(out, asset));
  }
  if (api) await buildApi(ROOT, join(out, 'api'));
  return { pages: all.length, dead: await deadLinks(out) };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const words = process.argv.slice(2);
  const out = words.find((word) => !word.startsWith('--')) ?? join(ROOT, 'docs-site');
  const { pages: count, dead } = await buildSite(out, { api: !words.includes('--no-api') });
  for (const line of dead) process.stderr.write(`${line}\n`);
  process.stderr.write(`${count} pages in ${out}\n`);
  process.exitCode = dead.length > 0 ? 1 : 0;
}
