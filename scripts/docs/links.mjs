/** Links of a built site that lead nowhere: to a file that is not there, or to a part of a page that it lacks. */
import { readFile, readdir } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join, posix } from 'node:path';

const LINK = /\s(?:href|src)="([^"]*)"/g;

/** One line a dead link. Addresses elsewhere are not asked. */
export async function deadLinks(site) {
  const files = (await readdir(site, { recursive: true })).map((file) => file.replaceAll('\\', '/')).filter((file) => file.endsWith('.html'));
  const texts = new Map();
  for (const file of files) texts.set(file, await readFile(join(site, file), 'utf8'));
  const anchors = new Map();
  const hasAnchor = (file, id) => {
    if (!anchors.has(file)) anchors.set(file, new Set([...(texts.get(file) ?? '').matchAll(/\s(?:id|name)="([^"]*)"/g)].map((match) => match[1])));
    return anchors.get(file).has(id);
  };
  const dead = [];
  for (const [file, text] of texts) {
    for (const [, raw = ''] of text.replace(/<script[\s\S]*?<\/script>/g, '').matchAll(LINK)) {
      const link = raw.replaceAll('&amp;', '&');
      if (link === '' || /^[a-z]+:/i.test(link)) continue;
      const [path = '', id] = link.split('#');
      const target = path === '' ? file : posix.normalize(posix.join(posix.dirname(file), decodeURIComponent(path)));
      if (!existsSync(join(site, target))) dead.push(`${file}: ${link} is not there.`);
      else if (id && texts.has(target) && !hasAnchor(target, decodeURIComponent(id))) dead.push(`${file}: ${link}: the page has no such part.`);
    }
  }
  return [...new Set(dead)];
}
