/** The facts of `published.json`, and folders of full size that hold headers and holes: the disk keeps nothing of a sparse file's zeros. */
import { readFileSync } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PUBLISHED_CONFIGS } from './configs.ts';

export interface PublishedCheckpoint {
  readonly parameters: number;
  readonly tensorCount: number;
  readonly partParameters: Readonly<Record<string, number>>;
  /** Duplicates of tied weights that real files may hold. */
  readonly tied: readonly string[];
  /** By name, every index spelled out. */
  readonly tensors: ReadonlyMap<string, HeaderTensor>;
}

export interface HeaderTensor {
  readonly dtype: 'float32' | 'float16' | 'bfloat16';
  readonly shape: readonly number[];
}

interface Facts {
  readonly parameters: number;
  readonly parameters_by_part: Readonly<Record<string, number>>;
  readonly tied_not_stored: readonly string[];
  readonly tensor_count: number;
  readonly tensors: Readonly<Record<string, readonly [HeaderTensor['dtype'], readonly number[]]>>;
}

const FACTS = JSON.parse(readFileSync(new URL('published.json', import.meta.url), 'utf8')) as Readonly<Record<string, Facts>>; // our own file

/** Names on the hub. */
export const PUBLISHED: readonly string[] = Object.keys(PUBLISHED_CONFIGS);

export function published(name: string): PublishedCheckpoint {
  const facts = FACTS[name];
  if (facts === undefined) throw new Error(`${name} is not in published.json`);
  const tensors = new Map<string, HeaderTensor>();
  for (const [pattern, [dtype, shape]] of Object.entries(facts.tensors)) for (const one of spelledOut(pattern)) tensors.set(one, { dtype, shape });
  return { parameters: facts.parameters, tensorCount: facts.tensor_count, partParameters: facts.parameters_by_part, tied: facts.tied_not_stored, tensors };
}

/** `a.{0..2}` and `a.{0,2}` as names. */
function spelledOut(pattern: string): string[] {
  const [whole, inside = ''] = /\{([^}]*)\}/.exec(pattern) ?? [];
  if (whole === undefined) return [pattern];
  const [first = 0, last] = inside.split('..').map(Number);
  const indices = last === undefined ? inside.split(',') : Array.from({ length: last - first + 1 }, (_, i) => String(first + i));
  return indices.map((index) => pattern.replace(whole, index));
}

const STORED = { float32: ['F32', 4], float16: ['F16', 2], bfloat16: ['BF16', 2] } as const;

/** A folder of that config whose weight files are headers alone, in so many shards. */
export async function writeHeaders(folder: string, config: object, tensors: ReadonlyMap<string, HeaderTensor>, shards = 1): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const entries = [...tensors];
  const each = Math.ceil(entries.length / shards);
  const map: Record<string, string> = {};
  for (let i = 0; i < shards; i++) {
    const file = shards === 1 ? 'model.safetensors' : `model-${String(i + 1).padStart(5, '0')}-of-${String(shards).padStart(5, '0')}.safetensors`;
    const part = entries.slice(i * each, (i + 1) * each);
    for (const [name] of part) map[name] = file;
    await writeSparse(join(folder, file), new Map(part));
  }
  if (shards > 1) await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
}

async function writeSparse(file: string, tensors: ReadonlyMap<string, HeaderTensor>): Promise<void> {
  const header: Record<string, object> = {};
  let end = 0;
  for (const [name, { dtype, shape }] of tensors) {
    const [stored, bytes] = STORED[dtype];
    const start = end;
    end += bytes * shape.reduce((product, dim) => product * dim, 1);
    header[name] = { dtype: stored, shape, data_offsets: [start, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  const handle = await open(file, 'w');
  try {
    await handle.writeFile(Buffer.concat([prefix, json]));
    await handle.truncate(8 + json.length + end);
  } finally {
    await handle.close();
  }
}
