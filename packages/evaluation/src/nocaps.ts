/**
 * NoCaps (arXiv 1812.08658): captions of images with objects that COCO has (`in-domain`), has some of (`near-domain`) or does not have
 * (`out-domain`); figures by domain and over all. As the public scorer, each domain is scored by itself: CIDEr's document frequencies
 * are those of its own references.
 */
import { QuerentError, readJson } from '@querent/core';
import type { CaptionedImage } from './caption-dataset.ts';
import { evaluateCaptions } from './evaluate-captions.ts';
import type { CaptionFigures } from './evaluate-captions.ts';
import { filenameOf, isRecord, textOf } from './vqa-rows.ts';

/** In the order of the tables of the paper. */
export const NOCAPS_DOMAINS = ['in-domain', 'near-domain', 'out-domain'] as const;
export type NocapsDomain = (typeof NOCAPS_DOMAINS)[number];

/**
 * NoCaps' annotations (`nocaps_val_4500_captions.json`): `{ images: [{ id, file_name, domain }], annotations: [{ image_id, caption }] }`,
 * as captioned images whose split is their domain.
 *
 * @throws QuerentError QRT_DATASET naming the row that is unusable.
 */
export function parseNocaps(document: unknown, source: string): CaptionedImage[] {
  const refuse = (pointer: string, problem: string): never => {
    throw new QuerentError('QRT_DATASET', `${source}${pointer === '' ? '' : ` at ${pointer}`}: ${problem}`, { fix: 'The file must be NoCaps’: { "images": [{ "id", "file_name", "domain" }], "annotations": [{ "image_id", "caption" }] }.', details: { source, pointer } });
  };
  if (!isRecord(document) || !Array.isArray(document['images']) || !Array.isArray(document['annotations'])) return refuse('', 'it has no lists "images" and "annotations".');
  const captions = new Map<string, string[]>();
  document['annotations'].forEach((row: unknown, i) => {
    if (!isRecord(row)) return refuse(`/annotations/${i}`, 'an annotation is an object.');
    const id = textOf(row['image_id'], source, `/annotations/${i}/image_id`);
    captions.set(id, [...(captions.get(id) ?? []), textOf(row['caption'], source, `/annotations/${i}/caption`)]);
  });
  return document['images'].map((row: unknown, i): CaptionedImage => {
    const at = `/images/${i}`;
    if (!isRecord(row)) return refuse(at, 'an image is an object.');
    const domain = NOCAPS_DOMAINS.find((one) => one === row['domain']);
    if (domain === undefined) return refuse(`${at}/domain`, `the domain is ${JSON.stringify(row['domain']) ?? 'missing'}; it is one of ${NOCAPS_DOMAINS.join(', ')}.`);
    const sentences = captions.get(textOf(row['id'], source, `${at}/id`));
    if (sentences === undefined) return refuse(at, 'no annotation has captions of it.');
    return { filename: filenameOf(row['file_name'], source, `${at}/file_name`), split: domain, sentences: sentences.map((raw) => ({ raw, tokens: [] })) };
  });
}

/** Reads NoCaps' annotations. @throws QuerentError QRT_CONFIG_UNREADABLE, QRT_DATASET. */
export async function readNocaps(path: string): Promise<CaptionedImage[]> {
  return parseNocaps(await readJson(path, { maxBytes: 2 ** 30 }), path);
}

/** Caption figures by domain, for the domains that there are, and over all. */
export function evaluateNocaps(predictions: ReadonlyMap<string, string>, images: readonly CaptionedImage[]): Readonly<Partial<Record<NocapsDomain, CaptionFigures>> & { overall: CaptionFigures }> {
  const byDomain = NOCAPS_DOMAINS.map((domain) => [domain, images.filter(({ split }) => split === domain)] as const).filter(([, some]) => some.length > 0);
  const figures: Partial<Record<NocapsDomain, CaptionFigures>> = Object.fromEntries(byDomain.map(([domain, some]) => [domain, evaluateCaptions(predictions, some)]));
  return { ...figures, overall: evaluateCaptions(predictions, images) };
}
