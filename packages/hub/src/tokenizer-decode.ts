/**
 * From tokens back to text: the decoders of `tokenizer.json` as HuggingFace's Rust `tokenizers` runs them (0.23).
 * Ours and not the JavaScript library's, which cleans up spaces that Python keeps and decodes broken byte runs otherwise.
 */
import { QuerentError } from '@querent/core';
import { fromByteCharacters } from './byte-level.ts';
import { isJsonObject } from './json-file.ts';

/** Tokens in, pieces of text out; the text is all pieces joined. */
export type Decoder = (tokens: readonly string[]) => readonly string[];

/**
 * Compiles the `decoder` entry; null and absent join tokens with spaces.
 * @throws QuerentError QRT_TOKENIZER for a type that is not read.
 */
export function decoderOf(config: unknown, file: string): Decoder {
  if (config === null || config === undefined) return (tokens) => [tokens.join(' ')];
  if (!isJsonObject(config)) throw unsupported(file, 'its decoder is not an object');
  const text = (key: string, or: string): string => (typeof config[key] === 'string' ? config[key] : or);
  const count = (key: string): number => (Number.isSafeInteger(config[key]) ? Number(config[key]) : 0);
  switch (config['type']) {
    case 'ByteLevel':
      return byteLevel;
    case 'WordPiece':
      return wordPiece(text('prefix', '##'), config['cleanup'] !== false);
    case 'Metaspace': {
      const never = config['prepend_scheme'] === 'never' || config['add_prefix_space'] === false;
      return metaspace(text('replacement', '▁'), !never);
    }
    case 'BPEDecoder':
      return bpeSuffix(text('suffix', '</w>'));
    case 'ByteFallback':
      return byteFallback;
    case 'Fuse':
      return (tokens) => [tokens.join('')];
    case 'Strip':
      return strip(text('content', ' '), count('start'), count('stop'));
    case 'Replace':
      return replace(config['pattern'], text('content', ''), file);
    case 'Sequence': {
      const parts: readonly unknown[] = Array.isArray(config['decoders']) ? config['decoders'] : [];
      const chain = parts.map((part) => decoderOf(part, file));
      return (tokens) => chain.reduce((pieces, decode) => decode(pieces), tokens);
    }
    default:
      throw unsupported(file, `its decoder is of type ${JSON.stringify(config['type'])}`);
  }
}

/** Broken UTF-8 becomes U+FFFD, a byte-order mark is kept: what Rust's `from_utf8_lossy` does. */
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const byteLevel: Decoder = (tokens) => [utf8.decode(Buffer.concat(tokens.map(fromByteCharacters)))];

function wordPiece(prefix: string, cleanup: boolean): Decoder {
  return (tokens) =>
    tokens.map((token, i) => {
      const piece = i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return cleanup ? cleanUp(piece) : piece;
    });
}

/** `cleanup` of the Rust WordPiece decoder, piece by piece. */
function cleanUp(piece: string): string {
  return piece
    .replaceAll(' .', '.')
    .replaceAll(' ?', '?')
    .replaceAll(' !', '!')
    .replaceAll(' ,', ',')
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(' do not', " don't")
    .replaceAll(" 's", "'s")
    .replaceAll(" 've", "'ve")
    .replaceAll(" 're", "'re");
}

function metaspace(replacement: string, prepended: boolean): Decoder {
  return (tokens) => tokens.map((token, i) => token.replaceAll(replacement, i === 0 && prepended ? '' : ' '));
}

function bpeSuffix(suffix: string): Decoder {
  return (tokens) => tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? '' : ' '));
}

/** Runs of `<0xE2>` become text when they are UTF-8, else one U+FFFD a byte. */
const byteFallback: Decoder = (tokens) => {
  const pieces: string[] = [];
  let run: number[] = [];
  const flush = (): void => {
    if (run.length > 0) pieces.push(strictOr(Uint8Array.from(run), '\uFFFD'.repeat(run.length)));
    run = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) {
      run.push(Number.parseInt(byte, 16));
    } else {
      flush();
      pieces.push(token);
    }
  }
  flush();
  return pieces;
};

function strictOr(bytes: Uint8Array, otherwise: string): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return otherwise;
  }
}

function strip(content: string, start: number, stop: number): Decoder {
  return (tokens) =>
    tokens.map((token) => {
      const characters = [...token];
      let from = 0;
      while (from < start && characters[from] === content) from++;
      let to = characters.length;
      while (characters.length - to < stop && to > from && characters[to - 1] === content) to--;
      return characters.slice(from, to).join('');
    });
}

function replace(pattern: unknown, content: string, file: string): Decoder {
  if (isJsonObject(pattern) && typeof pattern['String'] === 'string') {
    const from = pattern['String'];
    return (tokens) => tokens.map((token) => token.replaceAll(from, () => content));
  }
  throw unsupported(file, 'its decoder replaces by a pattern that is not a plain String');
}

function unsupported(file: string, what: string): QuerentError {
  return new QuerentError('QRT_TOKENIZER', `${file}: ${what}, which is not read.`, {
    fix: 'Decoders that are read: ByteLevel, WordPiece, Metaspace, BPEDecoder, ByteFallback, Fuse, Strip, Replace, Sequence.',
    details: { file },
  });
}
