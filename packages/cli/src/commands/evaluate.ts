/** `querent evaluate caption|retrieval|vqa|nocaps`: figures on an annotated set of images. */
import { QuerentError } from '@querent/core';
import type { ParsedArgs } from 'citty';
import { JSON_ARG, MODEL_ARGS, defineCliCommand, finiteNumber, required, wholeNumber } from '../command.ts';
import type { Command } from '../command.ts';
import { note, printJson, printLine, progressLine, thousands } from '../output.ts';
import { describeItemError } from '../print-error.ts';
import { openQuerent } from '../session.ts';
import { evaluateNocapsSet, evaluateQuestions, onProgress } from './evaluate-sets.ts';

const args = {
  model: { type: 'string', description: 'Model folder.', valueHint: 'DIR' },
  images: { type: 'string', description: 'Folder of the images.', valueHint: 'DIR' },
  annotations: { type: 'string', description: 'Captions, as Karpathy’s splits have them.', valueHint: 'FILE' },
  questions: { type: 'string', description: 'vqa: the questions: VQAv2’s, OK-VQA’s, GQA’s, easy-VQA’s, or a list [{image, question, answer}]. Answers of the first two are in --annotations.', valueHint: 'FILE' },
  recipe: { type: 'string', description: 'vqa: ask what this recipe held out of its training, instead of --questions.', valueHint: 'FILE' },
  data: { type: 'string', description: 'vqa: folder that the recipe’s data paths are relative to; `data` when absent.', valueHint: 'DIR' },
  cache: { type: 'string', description: 'vqa: where tiles of a sheet of pictures are put; `cache` when absent.', valueHint: 'DIR' },
  candidates: { type: 'string', description: 'vqa: choose from the answers of this file, one a line, instead of writing.', valueHint: 'FILE' },
  split: { type: 'string', description: 'Only the images of this split; all when absent.', valueHint: 'NAME' },
  beams: { type: 'string', description: 'caption: hypotheses kept; what the model says when absent.', valueHint: 'N' },
  'length-penalty': { type: 'string', description: 'caption: exponent of the length that a beam is judged by; what the model says when absent.', valueHint: 'X' },
  shuffled: { type: 'boolean', description: 'caption: judge each caption against another image’s sentences: what is left is what the model says of any picture.' },
  metric: { type: 'string', description: 'caption: a metric beside the usual ones, METEOR or a plugin’s; several with commas between.', valueHint: 'NAME' },
  meteor: { type: 'string', description: 'caption: where METEOR finds meteor-1.5.jar and paraphrase-en.gz (docs/evaluation.md); without them exact words and stems only.', valueHint: 'DIR' },
  rerank: { type: 'string', description: 'retrieval: captions of an image that the matching head reads again. Default 128.', valueHint: 'K' },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'evaluate',
  description: 'Score captions (BLEU, ROUGE-L, CIDEr; NoCaps by domain), retrieval (recall by ITC, and re-ranked by ITM) or answers (VQA accuracy) on an annotated set.',
  positionals: 'caption|retrieval|vqa|nocaps',
  args,
  async run(given, { signal, positionals }) {
    const [what, ...rest] = positionals;
    if ((what !== 'caption' && what !== 'retrieval' && what !== 'vqa' && what !== 'nocaps') || rest.length > 0) {
      throw new QuerentError('QRT_USAGE', `\`querent evaluate\` was given ${positionals.length === 0 ? 'nothing to evaluate' : JSON.stringify(positionals.join(' '))}.`, { fix: 'Say caption, retrieval, vqa or nocaps: querent evaluate caption --model DIR --images DIR --annotations FILE.' });
    }
    if (what !== 'caption' && (given.metric !== undefined || given.meteor !== undefined)) {
      throw new QuerentError('QRT_USAGE', `\`querent evaluate ${what}\` has its own figures; --metric and --meteor are for caption.`, { fix: `Leave it out, or use querent evaluate caption.` });
    }
    if (what === 'vqa') return evaluateQuestions(given, signal);
    if (what === 'nocaps') return evaluateNocapsSet(given, signal);
    const [model, images, annotations] = [required('model', given.model), required('images', given.images), required('annotations', given.annotations)];
    return what === 'caption' ? captions(given, { model, images, annotations }, signal) : retrieval(given, { model, images, annotations }, signal);
  },
});
export default command as unknown as Command; // `run` is given what `args` describes

interface Places {
  readonly model: string;
  readonly images: string;
  readonly annotations: string;
}

async function captions(given: ParsedArgs<typeof args>, places: Places, signal: AbortSignal): Promise<number> {
  const { evaluateCaptionModel, locateMeteorData, readCaptionDataset } = await import('querent/evaluate');
  const numBeams = wholeNumber('beams', given.beams);
  const lengthPenalty = finiteNumber('length-penalty', given['length-penalty']);
  const own = await readCaptionDataset(places.annotations, given.split === undefined ? {} : { split: given.split });
  const half = Math.floor(own.length / 2);
  const images = given.shuffled === true ? own.map((image, i) => ({ ...image, sentences: own[(i + half) % own.length]!.sentences })) : own;
  await using querent = await openQuerent(given);
  const metrics = metricNames(given.metric, given.meteor).map((name) => querent.registry.get('metric', name)); // told before the model loads
  if (given.meteor !== undefined) await locateMeteorData(given.meteor);
  const model = await querent.load(places.model, { signal });
  let failed = 0;
  const onImageError = (filename: string, error: Error): void => {
    failed++;
    note(`${filename}   ${describeItemError(error)}`);
  };
  const figures = await evaluateCaptionModel(model, images, places.images, { ...(numBeams === undefined ? {} : { numBeams }), ...(lengthPenalty === undefined ? {} : { lengthPenalty }) }, { signal, onProgress, onImageError, metrics, metricConfigs: given.meteor === undefined ? {} : { METEOR: { data: given.meteor } } });
  progressLine.clear();
  const { Bleu_1, Bleu_2, Bleu_3, Bleu_4, ROUGE_L, CIDEr, images: count, imagesPerSecond, more = {} } = figures;
  if (given.json) printJson({ Bleu_1, Bleu_2, Bleu_3, Bleu_4, ROUGE_L, CIDEr, images: count, imagesPerSecond, ...(metrics.length === 0 ? {} : { more }) });
  else {
    for (const [name, value] of Object.entries({ Bleu_1, Bleu_2, Bleu_3, Bleu_4, ROUGE_L, CIDEr })) printLine(`${name.padEnd(8)} ${value.toFixed(4)}`);
    for (const [metric, values] of Object.entries(more)) for (const [name, value] of Object.entries(values)) printLine(`${(name === metric ? name : `${metric} ${name}`).padEnd(8)} ${value.toFixed(4)}`);
    printLine(`${thousands(count)} images, ${imagesPerSecond.toFixed(1)} a second`);
  }
  return failed > 0 ? 1 : 0;
}

/** What `--metric` names; `--meteor DIR` asks for METEOR by itself. */
function metricNames(given: string | undefined, meteor: string | undefined): string[] {
  const names = (given ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '');
  return [...new Set(meteor === undefined ? names : [...names, 'METEOR'])];
}

async function retrieval(given: ParsedArgs<typeof args>, places: Places, signal: AbortSignal): Promise<number> {
  const { evaluateRetrievalModel, readCaptionDataset } = await import('querent/evaluate');
  const rerank = wholeNumber('rerank', given.rerank);
  const images = await readCaptionDataset(places.annotations, given.split === undefined ? {} : { split: given.split });
  await using querent = await openQuerent(given);
  const model = await querent.load(places.model, { signal });
  const figures = await evaluateRetrievalModel(model, images, places.images, { signal, onProgress, ...(rerank === undefined ? {} : { rerank }) });
  progressLine.clear();
  if (given.json) printJson(figures);
  else {
    for (const [how, { i2t, t2i }] of Object.entries(figures)) {
      const row = ({ r1, r5, r10 }: { readonly r1: number; readonly r5: number; readonly r10: number }): string => `R@1 ${r1.toFixed(1)}  R@5 ${r5.toFixed(1)}  R@10 ${r10.toFixed(1)}`;
      printLine(`${how.toUpperCase()}  image→text ${row(i2t)}   text→image ${row(t2i)}`);
    }
  }
  return 0;
}
