/**
 * Before packing: the repository's models/ become this package's, so that the weights lie in git once. The folder appears at once, and in one
 * that is there each file changes at once: a process that reads the embedded model meanwhile always finds it whole.
 */
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const [source, target] = [join(here, '..', '..', 'models'), join(here, 'models')];
const isShipped = (path) => basename(path) !== '.querent'; // weights in other precisions, made where they were asked for

const files = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && isShipped(entry.parentPath))
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));

const copying = mkdtempSync(join(here, '.copying-'));
try {
  if (!existsSync(target)) {
    cpSync(source, join(copying, 'models'), { recursive: true, filter: isShipped });
    try {
      renameSync(join(copying, 'models'), target);
    } catch (error) {
      if (!existsSync(target)) throw error; // else another packing was faster
    }
  } else {
    const wanted = new Set(files(source));
    for (const file of wanted) {
      const [from, to] = [join(source, file), join(target, file)];
      if (existsSync(to) && readFileSync(to).equals(readFileSync(from))) continue;
      const whole = join(copying, 'file');
      copyFileSync(from, whole);
      mkdirSync(dirname(to), { recursive: true });
      renameSync(whole, to);
    }
    for (const entry of readdirSync(target, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile() && !wanted.has(path.slice(target.length + 1))) rmSync(path, { force: true });
    }
  }
} finally {
  rmSync(copying, { recursive: true, force: true });
}
