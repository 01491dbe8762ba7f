/**
 * `npm test`: installs, builds, lints, checks the arrows between packages, runs every test, and ends with one line such as
 * `412 passed, 0 failed, 3 skipped`. Arguments are handed on to vitest (`npm test -- packages/graph`).
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { checkImports } from './check-imports.mjs';
import { ROOT, Stop, prepare, run, say, script } from './workspace.mjs';

const REPORT = join(ROOT, 'node_modules', '.querent-test-report.json');

async function lint() {
  say('Linting …');
  const { code, output } = await run(process.execPath, [join(ROOT, 'node_modules', 'oxlint', 'bin', 'oxlint')]);
  const arrows = checkImports();
  if (code !== 0) say(output.trim());
  for (const line of arrows) say(line);
  return (code === 0 ? 0 : 1) + arrows.length;
}

async function vitest(args) {
  rmSync(REPORT, { force: true });
  const reporters = ['--reporter=dot', '--reporter=json', `--outputFile.json=${REPORT}`];
  const { code } = await run(process.execPath, [join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...reporters, ...args], { stdio: 'inherit' });
  if (!existsSync(REPORT)) throw new Stop(`vitest ended with exit code ${code} and wrote no report.`);
  return { code, report: JSON.parse(readFileSync(REPORT, 'utf8')) };
}

/** A file that does not load has no tests that could fail: it counts as one failure. */
function brokenFiles(report) {
  return report.testResults.filter(({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'));
}

function printSkipped(report) {
  for (const file of report.testResults) {
    for (const test of file.assertionResults) {
      if (test.status === 'passed' || test.status === 'failed') continue;
      say(`skipped: ${relative(ROOT, file.name)}: ${test.fullName}`);
    }
  }
}

await script(async () => {
  await prepare();
  const mistakes = await lint();
  const { code, report } = await vitest(process.argv.slice(2));
  printSkipped(report);
  const broken = brokenFiles(report);
  for (const file of broken) say(`failed: ${relative(ROOT, file.name)}: ${file.message}`);
  if (mistakes > 0) say(`failed: lint (${mistakes})`);
  const passed = report.numPassedTests;
  const failed = report.numFailedTests + broken.length + (mistakes > 0 ? 1 : 0);
  const skipped = report.numPendingTests + report.numTodoTests;
  const isRed = failed > 0 || passed === 0;
  // vitest also fails for errors outside of tests: they must not end in a green line
  const unhandled = code !== 0 && !isRed ? 1 : 0;
  if (unhandled > 0) say(`failed: vitest ended with exit code ${code}`);
  process.exitCode = isRed || unhandled > 0 ? 1 : 0;
  process.stdout.write(`${passed} passed, ${failed + unhandled} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
});
