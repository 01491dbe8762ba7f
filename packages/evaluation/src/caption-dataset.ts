/**
 * Reads captions of images as Karpathy's splits have them: `{ images: [{ filename, split, sentences: [{ raw, tokens }] }] }`
 * (Flickr8k, Flickr30k, COCO). What a file says is not believed until it is checked.
 */
import { open } from 'node:fs/promises';
import { QuerentError } from '@querent/core';

/** One caption. */
export interface CaptionSentence {
  /** As it was written. */
  readonly raw: string;
  /** The file's own tokens; empty when it has none. */
  readonly tokens: readonly string[];
}

/** One image and what people said about it. */
export interface CaptionedImage {
  /** Relative to the folder of images, with `/`; never leads out of it. */
  readonly filename: string;
  /** `train`, `val`, `test`, …; empty when the file does not say. */
  readonly split: string;
  /** At least one. */
  readonly sentences: readonly CaptionSentence[];
}

export interface CaptionDatasetOptions {
  /** Only the images of this split; all when absent. */
  readonly split?: string;
  /** Larger files are refused. Default 1 GiB. */
  readonly maxBytes?: number;
}

const MAX_BYTES = 2 ** 30;
const FIX = 'The file must be {"images": [{"filename": "1.jpg", "split": "train", "sentences": [{"raw": "A dog runs."}]}]}.';

function refuse(source: string, pointer: string, problem: string): never {
  throw new QuerentError('QRT_DATASET', `${source}${pointer === '' ? '' : ` at ${pointer}`}: ${problem}`, { fix: FIX, details: { source, pointer } });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a value is, for messages. */
function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function parseSentence(value: unknown, source: string, pointer: string): CaptionSentence {
  if (!isRecord(value)) return refuse(source, pointer, `a sentence must be an object with "raw", this is ${kindOf(value)}.`);
  const { raw, tokens = [] } = value;
  if (typeof raw !== 'string' || raw.trim() === '') return refuse(source, `${pointer}/raw`, `a caption must be a text with something in it, this is ${kindOf(raw)}.`);
  if (!Array.isArray(tokens) || !tokens.every((token): token is string => typeof token === 'string')) {
    return refuse(source, `${pointer}/tokens`, `tokens must be a list of texts, this is ${kindOf(tokens)}.`);
  }
  return { raw, tokens };
}

function parseFilename(value: unknown, source: string, pointer: string): string {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) return refuse(source, pointer, `a file name must be a text, this is ${kindOf(value)}.`);
  const leadsOut = /^([\\/]|[A-Za-z]:)/.test(value) || value.split(/[\\/]/).includes('..');
  return leadsOut ? refuse(source, pointer, `the file name ${kindOf(value)} leads out of the folder of images.`) : value;
}

/**
 * The images of a parsed annotations document.
 *
 * @param source names the document in messages.
 * @throws QuerentError QRT_DATASET naming the row that is unusable, a file name that occurs twice, or the splits that there
 * are when the one asked for is not.
 */
export function parseCaptionDataset(document: unknown, source: string, options: CaptionDatasetOptions = {}): CaptionedImage[] {
  if (!isRecord(document) || !Array.isArray(document['images'])) return refuse(source, '', `it has no list "images"; it is ${kindOf(document)}.`);
  const rows: readonly unknown[] = document['images'];
  const splits = new Set<string>();
  const filenames = new Set<string>();
  const images: CaptionedImage[] = [];
  for (const [index, row] of rows.entries()) {
    const pointer = `/images/${index}`;
    if (!isRecord(row)) return refuse(source, pointer, `an image must be an object, this is ${kindOf(row)}.`);
    const { split = '', sentences } = row;
    if (typeof split !== 'string') return refuse(source, `${pointer}/split`, `a split must be a text, this is ${kindOf(split)}.`);
    const filename = parseFilename(row['filename'], source, `${pointer}/filename`);
    if (filenames.has(filename)) return refuse(source, `${pointer}/filename`, `${kindOf(filename)} occurs twice.`);
    filenames.add(filename);
    splits.add(split);
    if (!Array.isArray(sentences) || sentences.length === 0) return refuse(source, `${pointer}/sentences`, `an image needs a list of at least one sentence, this is ${kindOf(sentences)}.`);
    const parsed = sentences.map((sentence: unknown, at) => parseSentence(sentence, source, `${pointer}/sentences/${at}`));
    if (options.split === undefined || options.split === split) images.push({ filename, split, sentences: parsed });
  }
  if (images.length === 0) {
    const wanted = options.split === undefined ? 'it has no images.' : `no image has the split "${options.split}"; there are: ${[...splits].slice(0, 20).join(', ') || 'none'}.`;
    return refuse(source, '', wanted);
  }
  return images;
}

/**
 * Reads an annotations file.
 *
 * @throws QuerentError QRT_DATASET when it cannot be read, is larger than `maxBytes`, is not JSON, or as
 * {@link parseCaptionDataset} says.
 */
export async function readCaptionDataset(path: string, options: CaptionDatasetOptions = {}): Promise<CaptionedImage[]> {
  const { maxBytes = MAX_BYTES } = options;
  let text: string;
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      if (size > maxBytes) refuse(path, '', `it has ${size} bytes, more than the ${maxBytes} that are read.`);
      text = await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof QuerentError) throw cause;
    throw new QuerentError('QRT_DATASET', `${path}: the annotations cannot be read (${String(cause)}).`, { fix: 'Check the path and its permissions.', cause });
  }
  let document: unknown;
  try {
    document = JSON.parse(text.replace(/^\ufeff/, ''));
  } catch (cause) {
    throw new QuerentError('QRT_DATASET', `${path}: the annotations are not JSON (${String(cause)}).`, { fix: FIX, cause });
  }
  return parseCaptionDataset(document, path, options);
}
