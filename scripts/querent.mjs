/** `npm run -s querent -- ARGS`: the command line, from the clone. */
import { commandLine, prepare, script } from './workspace.mjs';

await script(async () => {
  await prepare();
  await commandLine(process.argv.slice(2));
});
