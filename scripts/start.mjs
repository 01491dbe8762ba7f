/** `npm start -- PHOTO...`: installs, builds and captions; the sample photographs when none is named. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, commandLine, prepare, script } from './workspace.mjs';

function samples() {
  const folder = join(ROOT, 'test', 'photos');
  return readdirSync(folder).filter((name) => /\.jpe?g$/.test(name)).sort().map((name) => join(folder, name));
}

await script(async () => {
  await prepare();
  const given = process.argv.slice(2);
  const isPhotoNamed = given.some((argument) => !argument.startsWith('-'));
  await commandLine(['caption', ...given, ...(isPhotoNamed || given.includes('--help') ? [] : samples())]);
});
