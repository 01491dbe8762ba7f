/**
 * Brings a clone into a state in which it runs: Node's version is checked, packages are installed and sources are built, each
 * only where something has changed since the last time. Plain JavaScript without dependencies, because this runs before
 * anything is installed. `start.mjs`, `querent.mjs` and `test.mjs` begin with it.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

const NODE_MODULES = join(ROOT, 'node_modules');
const INSTALL_STAMP = join(NODE_MODULES, '.querent-install');
const BUILD_STAMP = join(NODE_MODULES, '.querent-build');
const LOWEST_NODE = [20, 20];

/** A problem that a person can mend: printed without a stack trace. */
export class Stop extends Error {}

/** One line of progress on stderr. */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

export function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < LOWEST_NODE[0] || (major === LOWEST_NODE[0] && minor < LOWEST_NODE[1])) {
    throw new Stop(`Node ${process.versions.node} is too old: Querent needs ${LOWEST_NODE.join('.')} or newer. Get it from nodejs.org.`);
  }
}

/** Runs a program; what it says is shown only when it fails, unless `stdio` says otherwise. */
export function run(command, args, { stdio = 'quiet', env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const quiet = stdio === 'quiet';
    const isShell = process.platform === 'win32' && command !== process.execPath; // npx is a .cmd file there
    const child = spawn(command, args, { cwd: ROOT, env, shell: isShell, stdio: quiet ? ['ignore', 'pipe', 'pipe'] : stdio });
    const output = [];
    child.stdout?.on('data', (chunk) => output.push(chunk));
    child.stderr?.on('data', (chunk) => output.push(chunk));
    child.on('error', (error) => reject(new Stop(`${command} cannot be started: ${error.message}`)));
    child.on('close', (code, signal) => resolve({ code: code ?? (signal === 'SIGINT' ? 130 : 1), output: Buffer.concat(output).toString() }));
  });
}

async function must(what, command, args, env) {
  const { code, output } = await run(command, args, { env });
  if (code !== 0) throw new Stop(`${output.trim()}\n\n${what} failed (exit code ${code}).`);
}

function readStamp(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** Pinned here and not as package.json's packageManager: pnpm would then want itself in the lock file, and refuse a frozen one. */
export const PNPM = 'pnpm@12.21.0';

/** What an installation depends on: the lock file, the manifests, and the platform that binaries are for. */
function installFingerprint() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}`);
  const manifests = [...readdirSync(join(ROOT, 'packages')).map((name) => join('packages', name, 'package.json')), join('scripts', 'docs', 'package.json')];
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json', ...manifests]) {
    if (existsSync(join(ROOT, file))) hash.update(file).update(readFileSync(join(ROOT, file)));
  }
  return hash.digest('hex');
}

/** Installs with the pinned pnpm when nothing is installed or the lock file has changed. */
export async function install() {
  const fingerprint = installFingerprint();
  if (readStamp(INSTALL_STAMP) === fingerprint) return;
  say('Installing packages …');
  const started = Date.now();
  const pnpm = ['--yes', PNPM, 'install', '--frozen-lockfile', '--reporter=append-only'];
  const env = { ...process.env, CI: '1', npm_config_loglevel: 'error' };
  // A registry that answers badly once is common enough for one more try.
  const first = await run('npx', pnpm, { env });
  if (first.code !== 0) await must('Installing packages', 'npx', pnpm, env);
  mkdirSync(NODE_MODULES, { recursive: true });
  writeFileSync(INSTALL_STAMP, fingerprint);
  say(`Installed in ${Math.round((Date.now() - started) / 1000)} s.`);
}

/** Name, size and time of every file that the build reads: a few milliseconds, no compiler started. */
function sourceFingerprint() {
  const hash = createHash('sha256');
  const visit = (folder, isSource) => {
    for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) visit(path, isSource);
      else if (isSource(entry.name)) {
        const { size, mtimeMs } = statSync(path);
        hash.update(`${path} ${size} ${mtimeMs}\n`);
      }
    }
  };
  const isBuilt = (name) => /\.(ts|json)$/.test(name) && !name.endsWith('.test.ts');
  for (const name of readdirSync(join(ROOT, 'packages')).sort()) {
    const source = join(ROOT, 'packages', name, 'src');
    if (existsSync(source)) visit(source, isBuilt);
    const config = join(ROOT, 'packages', name, 'tsconfig.json');
    if (existsSync(config)) hash.update(readFileSync(config));
  }
  hash.update(readFileSync(join(ROOT, 'tsconfig.base.json')));
  return hash.digest('hex');
}

/** Compiles all packages when a source has changed since the last build. */
export async function build() {
  const fingerprint = sourceFingerprint();
  const isThere = existsSync(join(ROOT, 'packages', 'cli', 'dist', 'main.js'));
  if (isThere && readStamp(BUILD_STAMP) === fingerprint) return;
  say('Building …');
  const started = Date.now();
  await must('The build', process.execPath, [join(NODE_MODULES, 'typescript', 'bin', 'tsc'), '-b']);
  writeFileSync(BUILD_STAMP, fingerprint);
  say(`Built in ${Math.round((Date.now() - started) / 1000)} s.`);
}

/** Node's version, packages, build: what every command of a clone needs. */
export async function prepare() {
  checkNode();
  await install();
  await build();
}

/** Runs the command line of the clone in this process; paths count from where npm was called. */
export async function commandLine(args) {
  const calledFrom = process.env.INIT_CWD;
  if (calledFrom !== undefined && existsSync(calledFrom)) process.chdir(calledFrom);
  const { main } = await import(new URL('../packages/cli/dist/main.js', import.meta.url).href);
  process.exitCode = await main(args);
}

/** The outermost frame of a script. */
export async function script(body) {
  try {
    await body();
  } catch (error) {
    say(error instanceof Stop ? error.message : String(error?.stack ?? error));
    process.exitCode = 1;
  }
}
