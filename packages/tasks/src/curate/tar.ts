/** Tar archives in a stream (POSIX ustar; long names of pax and GNU are read): what WebDataset's shards are. Constant memory but for one entry. */
import { QuerentError } from '@querent/core';

const BLOCK = 512;

/** One file of an archive. */
export interface TarEntry {
  readonly name: string;
  /** The bytes; undefined when there are more than the limit, which are passed over. */
  readonly data: Buffer | undefined;
  readonly bytes: number;
  /** Where the next entry begins. */
  readonly end: number;
}

/** Bytes that stand before the first entry of this piece of the archive. */
export interface TarOptions {
  readonly start?: number;
  readonly maxEntryBytes: number;
}

/** A stream that is read in exact pieces. */
class Pieces {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);
  position = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** `count` bytes, or fewer at the end. */
  async take(count: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let missing = count; missing > 0; ) {
      if (this.#held.length === 0) {
        const step = await this.#source.next();
        if (step.done === true) break;
        this.#held = step.value;
      }
      const part = this.#held.subarray(0, missing);
      this.#held = this.#held.subarray(part.length);
      missing -= part.length;
      parts.push(part);
    }
    const all = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    this.position += all.length;
    return all;
  }

  async skip(count: number): Promise<number> {
    let left = count;
    while (left > 0) {
      const { length } = await this.take(Math.min(left, 1 << 20));
      if (length === 0) break;
      left -= length;
    }
    return count - left;
  }
}

/** The files of an archive. @throws QuerentError QRT_DATASET when it is damaged or ends early. */
export async function* readTar(source: AsyncIterable<Buffer>, file: string, { start = 0, maxEntryBytes }: TarOptions): AsyncGenerator<TarEntry, void> {
  const pieces = new Pieces(source);
  let longName: string | undefined;
  for (;;) {
    const at = start + pieces.position;
    const header = await pieces.take(BLOCK);
    if (header.every((byte) => byte === 0)) return; // the end, of the archive or of the file
    const damaged = (what: string): QuerentError => new QuerentError('QRT_DATASET', `${file} is no tar archive, or is damaged: ${what} at byte ${at}.`, { fix: 'Fetch or make it again.', details: { file, offset: at } });
    if (header.length < BLOCK) throw damaged('a header ends early');
    let sum = 8 * 32;
    for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += header[i]!;
    if (sum !== octal(header.subarray(148, 156))) throw damaged('a header has the wrong checksum');
    const bytes = octal(header.subarray(124, 136));
    if (bytes === undefined) throw damaged('a size is no number');
    const type = String.fromCharCode(header[156]!);
    const isName = type === 'L' || type === 'x' || type === 'g';
    const limit = isName ? 1 << 20 : maxEntryBytes;
    const padding = (BLOCK - (bytes % BLOCK)) % BLOCK;
    const data = bytes > limit ? undefined : await pieces.take(bytes);
    if ((data?.length ?? (await pieces.skip(bytes))) < bytes || (await pieces.skip(padding)) < padding) throw damaged('an entry ends early');
    if (isName) {
      if (type === 'L') longName = data?.toString('utf8').replace(/\0.*$/s, '');
      else if (type === 'x') longName = /(?:^|\n)\d+ path=([^\n]*)\n/.exec(data?.toString('utf8') ?? '')?.[1] ?? longName;
      continue;
    }
    const prefix = header.subarray(257, 262).toString('latin1') === 'ustar' ? text(header.subarray(345, 500)) : '';
    const name = longName ?? `${prefix === '' ? '' : `${prefix}/`}${text(header.subarray(0, 100))}`;
    longName = undefined;
    if (type === '0' || type === '\0') yield { name, data, bytes, end: start + pieces.position };
  }
}

/** One file as the bytes of an archive. A name of more than 100 bytes stands in a pax header before it. */
export function tarEntry(name: string, data: Uint8Array): Buffer {
  if (Buffer.byteLength(name) <= 100) return Buffer.concat([header(name, data.length, '0'), data, filler(data.length)]);
  const record = (length: number): Buffer => Buffer.from(`${length} path=${name}\n`);
  let pax = record(Buffer.byteLength(name) + 10);
  while (pax.length !== Number.parseInt(pax.toString(), 10)) pax = record(pax.length); // the record holds its own length
  return Buffer.concat([header('PaxHeader', pax.length, 'x'), pax, filler(pax.length), header(name.slice(0, 24), data.length, '0'), data, filler(data.length)]);
}

/** What stands at the end of an archive. */
export const TAR_END: Buffer = Buffer.alloc(2 * BLOCK);

function header(name: string, bytes: number, type: string): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0, 100);
  block.write('0000644\x000000000\x000000000\x00', 100, 'latin1');
  block.write(`${bytes.toString(8).padStart(11, '0')}\x0000000000000\x00        ${type}`, 124, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\x00 `, 148, 'latin1');
  return block;
}

function filler(bytes: number): Buffer {
  return Buffer.alloc((BLOCK - (bytes % BLOCK)) % BLOCK);
}

function octal(field: Buffer): number | undefined {
  const digits = text(field).trim();
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

function text(field: Buffer): string {
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? field.length : end).toString('utf8');
}
