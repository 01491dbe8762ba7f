/**
 * The pages of the tasks are true: their TypeScript blocks run as they stand, with the embedded models, and the command lines name
 * options that there are. So do the blocks of the first page of examples that are about tasks.
 */
import { readFile, readdir, rm, mkdtemp, copyFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as fs from 'node:fs/promises';
import * as querent from 'querent';
import { splitArgs } from '../../packages/cli/src/command.ts';
import type { Command } from '../../packages/cli/src/command.ts';

const TASKS = fileURLToPath(new URL('../../docs/tasks', import.meta.url));
const PHOTOS = fileURLToPath(new URL('../photos', import.meta.url));
const COMMANDS = fileURLToPath(new URL('../../packages/cli/src/commands', import.meta.url));
const OWN = ['caption', 'vqa', 'instruct', 'chat', 'attend', 'embed', 'match'];
const PATIENT = { timeout: 240_000 };

let folder = '';
const home = process.cwd();
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'querent-docs-'));
  for (const [name, photo] of [['photo.jpg', 'raccoon.jpg'], ['a.jpg', 'cat.jpg'], ['b.jpg', 'coffee.jpg']] as const) await copyFile(join(PHOTOS, photo), join(folder, name));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Blocks of a language, in order. */
function blocks(page: string, language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, code = '']) => code);
}

/** Runs a block that has no types; files are looked for among the photographs, and what it prints is given back. */
async function run(code: string): Promise<string> {
  const body = code.replace(/^import \{ (.*) \} from '(.*)';$/gm, (_, names: string, from: string) => `const { ${names} } = modules[${JSON.stringify(from)}];`);
  let printed = '';
  const print = (text: string): void => void (printed += text);
  const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor as new (...args: string[]) => (...args: unknown[]) => Promise<void>; // has no name of its own
  const block = new AsyncFunction('modules', 'console', 'process', body);
  const modules = { querent, 'node:fs/promises': { ...fs, writeFile: (name: string, data: Uint8Array) => fs.writeFile(join(folder, name), data) } };
  process.chdir(folder);
  try {
    await block(modules, { log: (...values: unknown[]) => print(`${values.map(String).join(' ')}\n`) }, { stdout: { write: (text: unknown) => { if (typeof text !== 'string') throw new TypeError('stdout takes text'); print(text); } } });
  } finally {
    process.chdir(home);
  }
  return printed;
}

it.each(OWN)('the code of docs/tasks/%s.md runs', PATIENT, async (task) => {
  const codes = blocks(await readFile(join(TASKS, `${task}.md`), 'utf8'), 'ts');
  expect(codes.length).toBeGreaterThan(0);
  for (const code of codes) expect((await run(code)).trim()).not.toBe('');
});

it('the first three lines: one photograph, then many', PATIENT, async () => {
  const printed = await run(`
    import { pipeline } from 'querent';
    const caption = await pipeline('caption');
    console.log((await caption('photo.jpg')).text);
    for await (const { text } of caption(['a.jpg', 'b.jpg'])) console.log(text);
    await caption.dispose();`.replaceAll(/^ +/gm, ''));
  expect(printed.trimEnd().split('\n')).toHaveLength(3);
});

it('a question with an engine and a precision, whole and read along', PATIENT, async () => {
  const model = fileURLToPath(new URL('../../models/querent-mini', import.meta.url));
  const printed = await run(`
    import { pipeline } from 'querent';
    const model = ${JSON.stringify(model)};
    const ask = await pipeline('vqa', { model, precision: 'int4', engine: 'onnxruntime:cpu' });
    const image = 'photo.jpg';
    const question = 'What is the dog doing?';
    const { text, score } = await ask({ image, question });
    for await (const { delta } of ask.stream({ image, question })) process.stdout.write(delta);
    console.log('|' + text, score < 0);
    await ask.dispose();`.replaceAll(/^ +/gm, ''));
  const [written, told] = printed.split('|');
  expect(told).toBe(`${written} true\n`);
});

it('the command lines of the pages name commands and options that there are', async () => {
  const known = (await readdir(COMMANDS)).map((name) => name.replace('.ts', ''));
  for (const task of OWN) {
    const lines = blocks(await readFile(join(TASKS, `${task}.md`), 'utf8'), 'sh').join('\n').split('\n').filter((line) => line.startsWith('querent '));
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) {
      const words = (line.replace(/\s+#.*$/, '').replace(/\s+[<>] \S+/, '').match(/"[^"]*"|'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^["']|["']$/g, ''));
      const [, name = '', ...rest] = words;
      expect(known).toContain(name);
      const command = ((await import(join(COMMANDS, `${name}.ts`))) as { default: Command }).default;
      expect(() => splitArgs(command, rest), line).not.toThrow();
    }
  }
});
