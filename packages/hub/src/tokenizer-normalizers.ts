/** Normalisers in which the JavaScript library differs from Rust's, replaced by exact ones: `Precompiled` and `Strip`. */
import { isJsonObject } from './json-file.ts';
import { charsmapNormalizer } from './tokenizer-charsmap.ts';
import { NormalizerClass, SequenceNormalizerClass, type LibraryNormalizer } from './tokenizer-library.ts';

/** The library's normaliser for `config`, with the exact ones in place. */
export function withExactNormalizers(normalizer: LibraryNormalizer | null, config: unknown): LibraryNormalizer | null {
  if (!isJsonObject(config)) return normalizer;
  if (config['type'] === 'Precompiled' && typeof config['precompiled_charsmap'] === 'string') {
    const map = config['precompiled_charsmap'];
    return map === '' ? null : new FunctionNormalizer(config, charsmapNormalizer(map));
  }
  if (config['type'] === 'Strip') {
    const { strip_left: left, strip_right: right } = config;
    return new FunctionNormalizer(config, (text) => stripSpace(text, left !== false, right !== false));
  }
  if (normalizer instanceof SequenceNormalizerClass && Array.isArray(config['normalizers'])) {
    const parts: readonly unknown[] = config['normalizers'];
    normalizer.normalizers = normalizer.normalizers.map((part, i) => withExactNormalizers(part, parts[i]));
  }
  return normalizer;
}

/** Takes Unicode's White_Space away: unlike `trim`, U+0085 is one and U+FEFF is none. */
export function stripSpace(text: string, left: boolean, right: boolean): string {
  const start = left ? text.replace(/^\p{White_Space}+/u, '') : text;
  if (!right) return start;
  let end = start.length;
  while (end > 0 && /\p{White_Space}/u.test(start.charAt(end - 1))) end--; // a regex for the end would be quadratic
  return start.slice(0, end);
}

class FunctionNormalizer extends NormalizerClass {
  private readonly map: (text: string) => string;

  constructor(config: object, map: (text: string) => string) {
    super(config);
    this.map = map;
  }

  override normalize(text: string): string {
    return this.map(text);
  }
}
