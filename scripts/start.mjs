/** `npm start -- PHOTO...`: installs, builds and captions; the sample photographs when none is named. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, commandLine, prepare, script } from './workspace.mjs';

function samples() {
  const folder = join(ROOT, 'test', 'photos');
  return readdirSync(folder).filter((name) => /\.jpe?g$/.test(name)).sort().map((name) => join(folder, name));
}

const FLAGS = ['--json', '--debug'];

/** A word that is no option and no option's value. */
function isPhoto(word, i, words) {
  const before = words[i - 1] ?? '';
  const isValue = before.startsWith('--') && !before.includes('=') && !FLAGS.includes(before);
  return word === '-' || (!word.startsWith('-') && !isValue);
}

await script(async () => {
  await prepare();
  const given = process.argv.slice(2);
  const isPhotoNamed = given.some(isPhoto);
  await commandLine(['caption', ...given, ...(isPhotoNamed || given.includes('--help') ? [] : samples())]);
});
