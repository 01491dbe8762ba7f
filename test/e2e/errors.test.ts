/** Bad input through the real command line: one paragraph, the place, the way out, the right exit code, nothing left behind. */
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Finished } from './command-line.ts';
import { PHOTOS, ROOT, editJson, everything, querent, temporary, tinyModel } from './command-line.ts';

/** What every error has in common. */
function expectParagraph(finished: Finished, code: 1 | 2, name: string): void {
  expect(finished.stderr).toMatch(new RegExp(`^error ${name}`, 'm'));
  expect(finished.stderr).not.toMatch(/^\s+at .*\(?(file:|node:|\/)/m);
  expect(finished.stderr.trimEnd()).not.toContain('\n\n');
  expect(finished.stdout).toBe('');
  expect(finished.code).toBe(code);
}

const photo = join(PHOTOS, 'cat.jpg');

describe('the command line', () => {
  it('names what was probably meant', async () => {
    const command = await querent(['capton', photo]);
    expectParagraph(command, 2, 'QRT_USAGE');
    expect(command.stderr).toContain('Did you mean caption?');
    const option = await querent(['caption', photo, '--bems', '3']);
    expectParagraph(option, 2, 'QRT_USAGE');
    expect(option.stderr).toContain('Did you mean --beams?');
  });

  it('shows the stack only with --debug', async () => {
    const { stderr, code } = await querent(['verify', 'no-such-folder', '--debug']);
    expect(stderr).toMatch(/^\s+at /m);
    expect(code).toBe(1);
    expectParagraph(await querent(['verify', 'no-such-folder']), 1, 'QRT_FILE');
  });

  it('prints its help and version', async () => {
    expect((await querent(['--help'])).stdout).toContain('caption');
    expect((await querent(['train', '--help'])).stdout).toContain('--out');
    expect((await querent(['version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('a recipe', () => {
  it('with unknown keys is refused with each key and what was probably meant', async () => {
    await using folder = await temporary();
    const recipe = join(folder.path, 'recipe.json');
    const document = JSON.parse(await readFile(join(ROOT, 'recipes', 'mini-stage1.json'), 'utf8')) as object; // our own recipe
    await writeFile(recipe, JSON.stringify({ ...document, epocs: 3, maxTokkens: 4 }));
    const finished = await querent(['train', recipe, '--out', join(folder.path, 'out')]);
    expectParagraph(finished, 2, 'QRT_CONFIG_INVALID');
    expect(finished.stderr).toContain('epocs');
    expect(finished.stderr).toContain('epochs');
    expect(finished.stderr).toContain('maxTokens');
    expect(finished.stderr).toContain(recipe);
    expect(await everything(folder.path)).toEqual(['recipe.json']);
  });

  it('that is no JSON, or of no known kind, is refused', async () => {
    await using folder = await temporary();
    const recipe = join(folder.path, 'recipe.json');
    await writeFile(recipe, '{"kind": "stage1", ');
    expectParagraph(await querent(['train', recipe]), 2, 'QRT_CONFIG_UNREADABLE');
    await writeFile(recipe, '{"kind": "stage9"}');
    expectParagraph(await querent(['train', recipe]), 2, 'QRT_CONFIG_INVALID');
  });
});

describe('a checkpoint', () => {
  it('with a missing and a misshaped tensor is refused with both', async () => {
    await using folder = await temporary();
    const model = await tinyModel(folder.path);
    await editHeader(join(model, 'model.safetensors'), (header) => {
      const moved = header['language_projection.bias'];
      delete header['language_projection.bias'];
      header['language_projection.bais'] = moved!;
      const weight = header['language_projection.weight']!;
      weight.shape = weight.shape.toReversed();
    });
    const finished = await querent(['caption', photo, '--model', model]);
    expectParagraph(finished, 1, 'QRT_CHECKPOINT_MISMATCH');
    expect(finished.stderr).toContain('language_projection.bias is missing');
    expect(finished.stderr).toContain('language_projection.weight is [40, 48]');
    expect(finished.stderr).toContain(model);
  });

  it('whose config says another size is refused', async () => {
    await using folder = await temporary();
    const model = await tinyModel(folder.path);
    await editJson(join(model, 'config.json'), (config) => Object.assign(config, { num_query_tokens: 7 }));
    expectParagraph(await querent(['caption', photo, '--model', model]), 1, 'QRT_CHECKPOINT_MISMATCH');
  });

  it('that is truncated is refused', async () => {
    await using folder = await temporary();
    const model = await tinyModel(folder.path);
    const weights = join(model, 'model.safetensors');
    await truncate(weights, 100_000);
    const finished = await querent(['caption', photo, '--model', model]);
    expectParagraph(finished, 1, 'QRT_CHECKPOINT_FORMAT');
    expect(finished.stderr).toContain(weights);
    await truncate(weights, 5);
    expectParagraph(await querent(['caption', photo, '--model', model]), 1, 'QRT_CHECKPOINT_FORMAT');
  });
});

describe('a disk that is full while saving', () => {
  const recipe = { kind: 'tokenizer', vocabSize: 400, specialTokens: ['<pad>', '<s>', '</s>'], text: { files: ['captions.txt'] }, templates: { causal: '<s> $A' } };

  /** Makes a recipe and its data in a folder. */
  async function prepare(folder: string): Promise<string> {
    const file = join(folder, 'recipe.json');
    await writeFile(file, JSON.stringify(recipe));
    await mkdir(join(folder, 'data'));
    await writeFile(join(folder, 'data', 'captions.txt'), 'a brown dog runs through the snow\ntwo children play on the beach\n'.repeat(50));
    return file;
  }

  it('leaves nothing half-written (a limit on the size of files)', async () => {
    await using folder = await temporary();
    const file = await prepare(folder.path);
    const out = join(folder.path, 'out');
    const finished = await querent(['train', file, '--data', join(folder.path, 'data'), '--out', out], { before: 'ulimit -f 4' });
    expectParagraph(finished, 1, 'QRT_FILE');
    expect(finished.stderr).toContain(join(out, 'causal', 'tokenizer.json'));
    expect((await everything(out)).filter((name) => !/^causal$/.test(name))).toEqual([]);
    const again = await querent(['train', file, '--data', join(folder.path, 'data'), '--out', out]);
    expect(again.code).toBe(0);
  });

  const noMount = canMount() ? undefined : 'this user may not mount a small file system';
  it.skipIf(noMount !== undefined)(`says that the disk is full${noMount === undefined ? '' : ` (skipped: ${noMount})`}`, async () => {
    await using folder = await temporary();
    const file = await prepare(folder.path);
    const disk = join(folder.path, 'disk');
    await mkdir(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', disk]);
    try {
      const finished = await querent(['train', file, '--data', join(folder.path, 'data'), '--out', join(disk, 'out')]);
      expectParagraph(finished, 1, 'QRT_FILE');
      expect(finished.stderr).toContain('disk is full');
      expect((await everything(disk)).filter((name) => /tokenizer|tmp/.test(name))).toEqual([]);
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});

/** Whether a tmpfs can be mounted here. */
function canMount(): boolean {
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** Changes the header of a safetensors file; the bytes behind it stay. */
async function editHeader(file: string, edit: (header: Record<string, Entry>) => void): Promise<void> {
  const bytes = await readFile(file);
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, end)) as Record<string, Entry>; // our own fixture
  edit(header);
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeFile(file, Buffer.concat([length, text, bytes.subarray(end)]));
}
