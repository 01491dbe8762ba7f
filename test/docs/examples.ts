/**
 * The TypeScript blocks of pages as modules that a compiler can check and Node can run. A comment before a block says what is not in it:
 *
 *     <!-- given: photos, model -->        these names stand for something here: see GIVENS
 *     <!-- types only: needs a server -->  it is checked, not run, and why
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GOLDENS, PHOTOS, ROOT, temporary } from '../e2e/command-line.ts';

export interface Example {
  /** `packages/core/README.md:10`. */
  readonly name: string;
  /** A file name for it: `packages-core-README-10`. */
  readonly file: string;
  /** The block, with what it is given in front. */
  readonly code: string;
  /** Why it is not run. */
  readonly typesOnly: string | undefined;
}

/** What a page may leave out: declarations by name, in the order in which they build on each other. */
const GIVENS: Readonly<Record<string, string>> = {
  photos: "const photos: readonly string[] = ['a.jpg', 'b.jpg'];",
  image: "const image = 'photo.jpg';",
  question: "const question = 'What is in the picture?';",
  signal: 'const { signal } = new AbortController();',
  captions: "const captions = ['a dog runs through the snow', 'two dogs play in the grass', 'a boy in a red shirt jumps'];",
  querent: "import { createQuerent as createGiven } from 'querent';\nawait using querent = await createGiven();",
  model: "import { createQuerent as createAnother } from 'querent';\nconst model = await (await createAnother()).load('models/querent-mini');",
  retrieval: "import { createQuerent as createRetrieving } from 'querent';\nconst model = await (await createRetrieving()).load('models/querent-mini-retrieval');",
  opt: [
    "import { readFile as readGiven } from 'node:fs/promises';",
    "import { float32 as float32Given, int64 as int64Given } from '@querent/core';",
    "const config = JSON.parse(await readGiven('config.json', 'utf8')).text_config;",
    'const softPrompt = float32Given([1, 2, config.hidden_size], new Float32Array(2 * config.hidden_size));',
    'const promptIds = int64Given([1, 2], [4, 5]);',
  ].join('\n'),
};

const BLOCK = /(?:<!--\s*(given|types only):\s*([^>]*?)\s*-->\s*\n)?(?:<!--\s*(given|types only):\s*([^>]*?)\s*-->\s*\n)?```(?:ts|js)\n([\s\S]*?)\n```/g;

/** The examples of a page. @throws Error for a name that nothing is known to stand for */
export function parseExamples(page: string, text: string): Example[] {
  return [...text.matchAll(BLOCK)].map((match) => {
    const [, firstKind, first, secondKind, second, code = ''] = match;
    const markers = new Map([[firstKind, first], [secondKind, second]]);
    const given = (markers.get('given') ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '');
    const unknown = given.find((name) => GIVENS[name] === undefined);
    if (unknown !== undefined) throw new Error(`${page}: nothing is known to stand for ${unknown}; there are ${Object.keys(GIVENS).join(', ')}.`);
    const line = text.slice(0, match.index + match[0].indexOf('```')).split('\n').length;
    return {
      name: `${page}:${line}`,
      file: `${page.replace(/\.md$/, '').replaceAll(/[^a-zA-Z0-9]+/g, '-')}-${line}`,
      code: [...given.map((name) => GIVENS[name]), code, 'export {};', ''].join('\n'),
      typesOnly: markers.get('types only'),
    };
  });
}

/** `querent …` lines of the shell blocks of a page, as words. Its JSON block that names a pipeline's schema is beside them. */
export function parseCommands(text: string): { readonly commands: readonly (readonly string[])[]; readonly document: string | undefined } {
  const blocks = [...text.matchAll(/```sh\n([\s\S]*?)\n```/g)].flatMap(([, block = '']) => block.split('\n'));
  const lines = blocks.filter((line) => line.startsWith('querent ')).map((line) => line.replace(/\s+#.*$/, ''));
  const words = (line: string): string[] => [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
  return { commands: lines.map((line) => words(line).slice(1)), document: /```json\n(\{ "\$schema"[\s\S]*?)\n```/.exec(text)?.[1] };
}

/** All examples of the pages that people read first: the top README and those of the packages. */
export async function readmeExamples(): Promise<Example[]> {
  const packages = (await readdir(join(ROOT, 'packages'))).map((name) => join('packages', name, 'README.md')).filter((page) => existsSync(join(ROOT, page)));
  return examplesOf(['README.md', ...packages.toSorted()]);
}

export async function examplesOf(pages: readonly string[]): Promise<Example[]> {
  const read = await Promise.all(pages.map(async (page) => parseExamples(page, await readFile(join(ROOT, page), 'utf8'))));
  return read.flat();
}

/** A step of stage 2 on two photographs. */
const RECIPE = {
  kind: 'stage2', encoder: 'models/efficientnet-lite0', language_model: 'models/querent-mini-lm', images: '.', annotations: { file: 'annotations.json', splits: ['val'] }, maxTokens: 16,
  views: { count: 1, seed: 7, scale: [0.9, 1] }, num_query_tokens: 4, labelSmoothing: 0, dropout: 0, seed: 1, batch: 2, epochs: 1, maxGradNorm: 1,
  qformer_config: { model_type: 'blip_2_qformer', vocab_size: 64, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64, max_position_embeddings: 24, encoder_hidden_size: 320 },
  schedule: { type: 'linear_warmup_cosine', peak: 1e-3, minimum: 1e-5, warmupSteps: 1 }, optimiser: { betas: [0.9, 0.98], epsilon: 1e-8, weightDecay: 0.05 },
};

/** What examples read, in the folder that they run in: photographs, models, annotations, a small OPT behind a bridge. */
export async function furnish(folder: string, models: string = join(ROOT, 'models')): Promise<void> {
  await mkdir(join(folder, 'photos'), { recursive: true });
  for (const [from, to] of [['coffee', 'photo'], ['cat', 'a'], ['raccoon', 'b'], ['cat', 'photos/cat'], ['rocket', 'photos/rocket']]) await copyFile(join(PHOTOS, `${from}.jpg`), join(folder, `${to}.jpg`));
  await symlink(models, join(folder, 'models'));
  const images = ['a.jpg', 'b.jpg'].map((filename) => ({ filename, split: 'val', sentences: [{ raw: 'A dog runs through the grass.' }, { raw: 'A brown dog in a field.' }] }));
  await writeFile(join(folder, 'annotations.json'), JSON.stringify({ images }));
  await writeFile(join(folder, 'pairs.jsonl'), '{"image":"a.jpg","caption":"a cat"}\n{"image":"b.jpg","caption":"a raccoon in the grass"}\n');
  await writeFile(join(folder, 'recipe.json'), JSON.stringify(RECIPE));
  await cp(join(GOLDENS, 'blip2-opt'), join(folder, 'blip2-opt'), { recursive: true });
  for (const file of ['config.json', 'model.safetensors']) await cp(join(GOLDENS, 'blip2-opt', file), join(folder, file));
}

/** Compiler options of somebody who has `strict` on. */
const STRICT = { target: 'ES2022', lib: ['ES2023', 'ESNext.Disposable', 'DOM'], module: 'nodenext', strict: true, types: ['node'], outDir: 'built' };

/** Imports each example in turn, in one process, in a furnished folder; what threw goes into a file. */
const RUNNER = `
import { writeFileSync } from 'node:fs';
const [folder, report, ...files] = process.argv.slice(2);
process.chdir(folder);
const failures = [];
for (const file of files) {
  try {
    await import(new URL('built/' + file + '.js', import.meta.url).href);
  } catch (error) {
    failures.push(file + ': ' + (error?.stack ?? error));
  }
}
writeFileSync(report, JSON.stringify(failures));
process.exit(0); // some examples leave an engine running, as short scripts do
`;

/** What the compiler says of the examples, and what they throw when they run; the packages are found from `project` upwards. */
export async function checkExamples(project: string, examples: readonly Example[], models?: string): Promise<readonly string[]> {
  await mkdir(project, { recursive: true });
  await writeFile(join(project, 'package.json'), JSON.stringify({ type: 'module', private: true }));
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: STRICT, files: examples.map(({ file }) => `${file}.ts`) }));
  await writeFile(join(project, 'run.mjs'), RUNNER);
  for (const { file, code } of examples) await writeFile(join(project, `${file}.ts`), code);

  const compiled = await node([join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', project, '--pretty', 'false']);
  await using folder = await temporary();
  await furnish(folder.path, models);
  const report = join(project, 'report.json');
  const runnable = examples.filter(({ typesOnly }) => typesOnly === undefined).map(({ file }) => file);
  const ran = await node([join(project, 'run.mjs'), folder.path, report, ...runnable]);
  const failures: unknown = existsSync(report) ? JSON.parse(await readFile(report, 'utf8')) : [`The examples ended the process.\n${ran.stderr}`];
  return [...compiled.stdout.split('\n').filter((line) => line !== ''), ...(Array.isArray(failures) ? failures.map(String) : [])];
}

/** What a script of Node said, whether it failed or not. */
async function node(args: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return promisify(execFile)(process.execPath, args, { maxBuffer: 2 ** 26 }).catch((error: { stdout: string; stderr: string }) => error);
}
