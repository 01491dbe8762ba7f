/**
 * SentencePiece's precompiled character map (`Precompiled` in `tokenizer.json`, used by T5): a double-array trie from
 * UTF-8 to replacement strings. The JavaScript library only approximates it. Layout: uint32 trie bytes, trie of
 * uint32 units (Darts), NUL-terminated replacements. The walk is that of HF's `spm_precompiled`.
 */

/** Rust handles a grapheme of fewer UTF-8 bytes as one; longer ones character by character. */
const GRAPHEME_BYTES = 6;

/**
 * The normaliser of a base64 `precompiled_charsmap`.
 * @throws RangeError when the map is truncated.
 */
export function charsmapNormalizer(base64: string): (text: string) => string {
  const bytes = Buffer.from(base64, 'base64');
  const trieBytes = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
  if (trieBytes === 0 || trieBytes % 4 !== 0 || 4 + trieBytes > bytes.length) throw new RangeError('precompiled_charsmap is truncated');
  const trie = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i));
  const replacements = bytes.subarray(4 + trieBytes);
  const segmenter = new Intl.Segmenter('und', { granularity: 'grapheme' });

  /** The replacement of the shortest prefix of `chunk` in the map, as HF takes it. */
  const transform = (chunk: string): string | undefined => {
    let node = offsetOf(trie[0] ?? 0);
    for (const byte of Buffer.from(chunk, 'utf8')) {
      if (byte === 0) break;
      node ^= byte;
      const unit = trie[node];
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined;
      node ^= offsetOf(unit);
      if (((unit >>> 8) & 1) === 1) {
        const start = (trie[node] ?? 0) & 0x7fffffff;
        const end = replacements.indexOf(0, start);
        return replacements.toString('utf8', start, end === -1 ? replacements.length : end);
      }
    }
    return undefined;
  };

  return (text) => {
    let out = '';
    for (const { segment } of segmenter.segment(text)) {
      const whole = Buffer.byteLength(segment, 'utf8') < GRAPHEME_BYTES ? transform(segment) : undefined;
      if (whole !== undefined) out += whole;
      else for (const character of segment) out += transform(character) ?? character;
    }
    return out;
  };
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
