/** Runs the built command line as a person would: another process, with its output and exit code. */
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url));
export const BIN: string = join(ROOT, 'packages', 'cli', 'dist', 'bin.js');
export const GOLDENS: string = join(ROOT, 'test', 'goldens', 'v1');
export const PHOTOS: string = join(ROOT, 'test', 'photos');

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly milliseconds: number;
}

export interface RunOptions {
  readonly cwd?: string;
  /** Written to standard input, which is then closed. */
  readonly stdin?: Uint8Array;
  /** A shell command before it, for instance `ulimit -f 8`. */
  readonly before?: string;
  /** Called with each piece of stdout; `interrupt` sends SIGINT. */
  readonly onOutput?: (stdout: string, interrupt: () => void) => void;
}

/** `querent WORDS...`. The build must be there: `npm test` makes it. */
export function querent(words: readonly string[], options: RunOptions = {}): Promise<Finished> {
  if (!existsSync(BIN)) throw new Error(`${BIN} is not there: run npm run build.`);
  const command = options.before === undefined ? process.execPath : 'bash';
  const args = options.before === undefined ? [BIN, ...words] : ['-c', `${options.before}; exec "$@"`, 'bash', process.execPath, BIN, ...words];
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: options.cwd ?? ROOT, env: { ...process.env, NODE_OPTIONS: '' }, stdio: 'pipe' });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (piece: Buffer) => {
      stdout += piece.toString();
      options.onOutput?.(stdout, () => child.kill('SIGINT'));
    });
    child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr, milliseconds: performance.now() - started }));
    child.stdin.on('error', () => undefined); // it need not read its input
    child.stdin.end(options.stdin);
  });
}

/** A folder of its own for a test, removed with it. */
export async function temporary(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'querent-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A model that can caption, made of fixtures: random weights, a real tokenizer. Its sentences mean nothing. */
export async function tinyModel(folder: string): Promise<string> {
  const model = join(folder, 'tiny-model');
  await cp(join(GOLDENS, 'blip2-opt'), model, { recursive: true });
  for (const file of ['inputs.safetensors', 'expected.safetensors', 'expected.json']) await rm(join(model, file));
  await cp(join(GOLDENS, 'tokenizers', 'opt', 'tokenizer.json'), join(model, 'tokenizer.json'));
  return model;
}

/** Edits a JSON file. */
export async function editJson(file: string, edit: (document: Record<string, unknown>) => void): Promise<void> {
  const document = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>; // our own fixture
  edit(document);
  await writeFile(file, JSON.stringify(document));
}

/** Names below a folder, all of them. */
export async function everything(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).toSorted();
}
