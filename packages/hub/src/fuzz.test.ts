/** Damaged and hostile documents, mutated from real ones: a coded error or a sound result, never a crash and never without end. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isQuerentError } from '@querent/core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openModelFolder } from './model-folder.ts';
import { readSafetensors } from './safetensors.ts';
import { createTokenizer } from './tokenizer.ts';

const GOLDENS = join(dirname(fileURLToPath(import.meta.url)), '../../../test/goldens/v1');
let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'querent-fuzz-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Resolves, or rejects with a coded error. */
async function codedOrSound(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isQuerentError(error)) throw error;
    expect(error.code).toMatch(/^QRT_/);
    expect(error.message.length).toBeLessThan(20_000);
  }
}

/** Where in a JSON value something is replaced: a way of turns, taken modulo what is there. */
const edits = fc.array(fc.record({ way: fc.array(fc.nat(50), { minLength: 1, maxLength: 6 }), value: fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom<unknown>(null, -1, 1e308, 2 ** 53, '', '\u0000', '__proto__', [], {}, true)) }), { minLength: 1, maxLength: 3 });

function edited(value: unknown, way: readonly number[], replacement: unknown): unknown {
  const [turn, ...rest] = way;
  if (turn === undefined || typeof value !== 'object' || value === null) return replacement;
  const keys = Object.keys(value);
  const key = keys[turn % Math.max(1, keys.length)];
  if (key === undefined) return replacement;
  const copy: Record<string, unknown> | unknown[] = Array.isArray(value) ? [...(value as unknown[])] : { ...value };
  (copy as Record<string, unknown>)[key] = edited((value as Record<string, unknown>)[key], rest, replacement); // arrays have string keys too
  return copy;
}

test.each(['gpt2', 'bert-wordpiece', 't5-unigram', 'llama-bpe'])('a tokenizer.json that is other in places: %s', async (name) => {
  const original: unknown = JSON.parse(await readFile(join(GOLDENS, 'tokenizers', name, 'tokenizer.json'), 'utf8'));
  await fc.assert(
    fc.asyncProperty(edits, async (changes) => {
      const json = changes.reduce<unknown>((value, { way, value: to }) => edited(value, way, to), original);
      await codedOrSound(async () => {
        const tokenizer = createTokenizer(json as Parameters<typeof createTokenizer>[0]); // hostile on purpose
        tokenizer.decode(tokenizer.encode('A dog, two dogs. \u{1F600} naïve'));
      });
    }),
    { numRuns: 12 },
  );
});

test('a config.json that is other in places', async () => {
  const folder = join(root, 'model');
  await cp(join(GOLDENS, 'blip2-opt'), folder, { recursive: true });
  const original: unknown = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
  await fc.assert(
    fc.asyncProperty(edits, async (changes) => {
      await writeFile(join(folder, 'config.json'), JSON.stringify(changes.reduce<unknown>((value, { way, value: to }) => edited(value, way, to), original)));
      await codedOrSound(() => openModelFolder(folder));
    }),
    { numRuns: 60 },
  );
});

test('any bytes as a config, an index or weights', async () => {
  const folder = join(root, 'bytes');
  await cp(join(GOLDENS, 'blip2-opt'), folder, { recursive: true });
  const config = await readFile(join(folder, 'config.json'));
  const weird = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string({ unit: 'binary', maxLength: 300 }).map((text) => Buffer.from(text)), fc.json().map((text) => Buffer.from(text)), fc.constant(Buffer.from('['.repeat(100_000))));
  await fc.assert(
    fc.asyncProperty(weird, async (bytes) => {
      await writeFile(join(folder, 'config.json'), bytes);
      await codedOrSound(() => openModelFolder(folder));
      await writeFile(join(folder, 'config.json'), config);
      await writeFile(join(folder, 'x.safetensors.index.json'), bytes);
      await codedOrSound(() => readSafetensors(join(folder, 'x.safetensors.index.json')));
      await writeFile(join(folder, 'x.safetensors'), bytes);
      await codedOrSound(() => readSafetensors(join(folder, 'x.safetensors')));
    }),
    { numRuns: 100 },
  );
});

test('a header that announces more than the file holds costs no memory', async () => {
  const file = join(root, 'liar.safetensors');
  const bytes = Buffer.alloc(64, 0x20);
  bytes.writeBigUInt64LE(99_000_000n);
  await writeFile(file, bytes);
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 20; i++) await expect(readSafetensors(file)).rejects.toMatchObject({ code: 'QRT_CHECKPOINT_FORMAT' });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
});

test('a pattern that could run without end is refused before it is run', async () => {
  const original = JSON.parse(await readFile(join(GOLDENS, 'tokenizers', 'gpt2', 'tokenizer.json'), 'utf8')) as object; // our own fixture
  const withPattern = (Regex: string): object => ({ ...original, pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false }] } });
  for (const pattern of ['(a+)+$', '(?:a*)*b', '((a+)b?)+', '(a{1,})*', 'a'.repeat(5000)]) expect(() => createTokenizer(withPattern(pattern)), pattern).toThrow(expect.objectContaining({ code: 'QRT_TOKENIZER' }));
  const real = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  expect(createTokenizer(withPattern(real)).encode('two dogs').length).toBeGreaterThan(0);
});
