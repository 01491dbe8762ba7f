/** The caption scores as plugins: `Bleu`, `ROUGE_L`, `CIDEr` and `METEOR` judge plain texts, a caption an image against several. */
import { type Judged, type MetricPlugin, type MetricResult, defineMetric } from '@querent/core';
import { bleu } from './bleu.ts';
import { cider } from './cider.ts';
import { readMeteorData } from './meteor-data.ts';
import type { MeteorData } from './meteor-data.ts';
import { meteor } from './meteor.ts';
import { ptbTokenizeAll } from './ptb-tokenizer.ts';
import { rougeL } from './rouge.ts';

type Tokens = readonly string[];

/** Both sides as PTB tokens; `splitBlanks` as pycocoevalcap's BLEU and CIDEr see them, which split `3 1/2` in two. */
function tokens(judged: readonly Judged[], splitBlanks: boolean): [Tokens[], Tokens[][]] {
  const tokenise = (captions: readonly string[]): Tokens[] =>
    ptbTokenizeAll(captions).map((list) => (splitBlanks ? list.flatMap((token) => token.split('\u00a0')) : list));
  return [tokenise(judged.map(({ prediction }) => prediction)), judged.map(({ reference }) => tokenise(reference))];
}

/** BLEU-1 … BLEU-4. */
export const bleuMetric: MetricPlugin = defineMetric({
  name: 'Bleu',
  description: 'BLEU-1 to BLEU-4 with the closest reference length.',
  evaluate(judged): MetricResult {
    const { corpus, perImage } = bleu(...tokens(judged, true));
    const names = corpus.map((_, order) => `Bleu_${order + 1}`);
    return {
      figures: Object.fromEntries(names.map((name, order) => [name, corpus[order] ?? 0])),
      each: Object.fromEntries(names.map((name, order) => [name, Float64Array.from(perImage, (scores) => scores[order] ?? 0)])),
    };
  },
});

/** ROUGE-L. */
export const rougeMetric: MetricPlugin = defineMetric({
  name: 'ROUGE_L',
  description: 'ROUGE-L with beta 1.2.',
  evaluate(judged): MetricResult {
    const { corpus, perImage } = rougeL(...tokens(judged, false));
    return { figures: { ROUGE_L: corpus }, each: { ROUGE_L: Float64Array.from(perImage) } };
  },
});

/** CIDEr. */
export const ciderMetric: MetricPlugin = defineMetric({
  name: 'CIDEr',
  description: 'CIDEr-D, document frequencies from the references.',
  evaluate(judged): MetricResult {
    const { corpus, perImage } = cider(...tokens(judged, true));
    return { figures: { CIDEr: corpus }, each: { CIDEr: Float64Array.from(perImage) } };
  },
});

/** What METEOR's config may hold; all of it may be absent. */
const METEOR_CONFIG = {
  type: 'object',
  additionalProperties: false,
  properties: {
    data: { type: 'string', description: 'Folder with meteor-1.5.jar and paraphrase-en.gz: METEOR as published.' },
    wordnet: { type: 'string', description: 'The dict folder of a WordNet, for synonyms without `data`.' },
  },
} as const;

/** METEOR. The figure is called `METEOR` only where all of METEOR 1.5 was in use, otherwise by what was: `exact+stem`. */
export const meteorMetric: MetricPlugin = defineMetric<string, readonly string[], MeteorData>({
  name: 'METEOR',
  description: 'METEOR 1.5; with its own data as published, without them by exact words and stems only.',
  configSchema: METEOR_CONFIG,
  async evaluate(judged, config, { signal } = {}): Promise<MetricResult> {
    const [hypotheses, references] = tokens(judged, false);
    const lines = [...hypotheses, ...references.flat()].map((list) => list.join(' '));
    const { name, corpus, perImage } = meteor(hypotheses, references, await readMeteorData(config ?? {}, lines, signal));
    return { figures: { [name]: corpus }, each: { [name]: Float64Array.from(perImage) } };
  },
}) as MetricPlugin; // what calls it gives the config that `configSchema` describes
