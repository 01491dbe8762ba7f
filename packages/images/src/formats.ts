/**
 * What kind of file these bytes are, by their first ones. Only pictures on this list reach the decoder, so that its other
 * loaders (drawings, documents) never see a stranger's bytes; and a refusal can say what the file is instead.
 */

export interface SniffedFormat {
  /** For messages: `JPEG`, `an SVG drawing`. */
  readonly name: string;
  readonly isSupported: boolean;
}

/** Signatures: text at an offset. `\x` bytes are Latin-1. */
const SUPPORTED: readonly (readonly [name: string, ...parts: (readonly [offset: number, text: string])[]])[] = [
  ['JPEG', [0, '\xff\xd8\xff']],
  ['PNG', [0, '\x89PNG\r\n\x1a\n']],
  ['GIF', [0, 'GIF8']],
  ['WebP', [0, 'RIFF'], [8, 'WEBP']],
  ['TIFF', [0, 'II*\0']],
  ['TIFF', [0, 'MM\0*']],
  ['AVIF', [4, 'ftypavif']],
  ['AVIF', [4, 'ftypavis']],
  ['AVIF', [4, 'ftypmif1'], [16, 'avif']],
];

const REFUSED: typeof SUPPORTED = [
  ['a PDF document', [0, '%PDF']],
  ['a BMP picture', [0, 'BM']],
  ['a HEIC picture', [4, 'ftyphe']],
  ['a HEIC picture', [4, 'ftypmif1']],
  ['a JPEG XL picture', [0, '\xff\x0a']],
  ['a JPEG XL picture', [4, 'JXL ']],
  ['a JPEG 2000 picture', [4, 'jP  ']],
  ['a Photoshop document', [0, '8BPS']],
  ['an icon', [0, '\0\0\x01\0']],
  ['a ZIP archive', [0, 'PK\x03\x04']],
  ['a gzip archive', [0, '\x1f\x8b']],
  ['a video', [4, 'ftyp']],
  ['a RIFF file that is not WebP', [0, 'RIFF']],
];

/** Names the format of `bytes`; at most the first 1024 are looked at. */
export function sniffFormat(bytes: Uint8Array): SniffedFormat {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 1024)).toString('latin1');
  const find = (list: typeof SUPPORTED): string | undefined =>
    list.find(([, ...parts]) => parts.every(([offset, text]) => head.startsWith(text, offset)))?.[0];
  const supported = find(SUPPORTED);
  if (supported !== undefined) return { name: supported, isSupported: true };
  const refused = find(REFUSED) ?? (/<svg[\s>]/i.test(head) ? 'an SVG drawing' : undefined);
  if (refused !== undefined) return { name: refused, isSupported: false };
  if (/^(\xef\xbb\xbf)?\s*<(!doctype html|html)/i.test(head)) return { name: 'an HTML page', isSupported: false };
  const isText = /^[\t\n\r\x20-\x7e\x80-\xff]*$/.test(head);
  return { name: isText ? 'a text file, not a picture' : 'of no known picture format', isSupported: false };
}
