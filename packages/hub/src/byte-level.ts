/**
 * GPT-2's byte alphabet: every byte has a printable character, so that a BPE over bytes can be written as text
 * (Radford 2019; `ByteLevel` of HF tokenizers). Printable Latin-1 stands for itself, the rest for U+0100 onwards.
 */

function isPrintable(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

function alphabet(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
}

/** byte → its character. */
export const CHARACTER_OF_BYTE: readonly string[] = alphabet();

/** character → its byte. */
export const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(CHARACTER_OF_BYTE.map((character, byte) => [character, byte]));

/** Splits text into words before BPE, each with the space in front of it: GPT-2's pattern. */
export const WORD_PATTERN: RegExp = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Text in the byte alphabet. */
export function toByteCharacters(text: string): string {
  let out = '';
  for (const byte of Buffer.from(text, 'utf8')) out += CHARACTER_OF_BYTE[byte];
  return out;
}

/** The bytes of text in the byte alphabet; a token with a foreign character stands for its own UTF-8 bytes. */
export function fromByteCharacters(token: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTE_OF_CHARACTER.get(character);
    if (byte === undefined) return Buffer.from(token, 'utf8');
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
