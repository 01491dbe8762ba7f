/** `querent curate PAIRS --out FILE`: CapFilt over a file of pairs; run it again after a kill and it goes on. */
import { QuerentError } from '@querent/core';
import { JSON_ARG, MODEL_ARGS, defineCliCommand, finiteNumber, required, wholeNumber } from '../command.ts';
import type { Command } from '../command.ts';
import { note, printJson, printLine, progressLine, thousands } from '../output.ts';
import { describeItemError, errorJson } from '../print-error.ts';
import { openQuerent } from '../session.ts';

const args = {
  in: { type: 'string', description: 'The pairs: JSONL of {image, caption | captions}, or a WebDataset .tar.', valueHint: 'FILE' },
  out: { type: 'string', description: 'The result: JSONL; .tar for WebDataset; .json for annotations that recipes read.', valueHint: 'FILE' },
  captions: { type: 'string', description: 'Captions to draw an image. Default 10.', valueHint: 'N' },
  keep: { type: 'string', description: 'Captions to keep an image. Default 2.', valueHint: 'N' },
  'top-p': { type: 'string', description: 'Tokens are drawn from the likeliest that share this probability. Default 0.9.', valueHint: 'P' },
  'max-new-tokens': { type: 'string', description: 'Most tokens of a new caption. Default 30.', valueHint: 'N' },
  prompt: { type: 'string', description: 'Text that each new caption goes on from.', valueHint: 'TEXT' },
  seed: { type: 'string', description: 'Makes the draws repeatable. Default 0.', valueHint: 'N' },
  model: { type: 'string', description: 'The captioner; the embedded querent-mini when absent.', valueHint: 'DIR' },
  ranker: { type: 'string', description: 'The contrastive model that ranks; the embedded querent-mini-retrieval when absent.', valueHint: 'DIR' },
  restart: { type: 'boolean', description: 'Begin anew, whatever there is of the result.', default: false },
  ...MODEL_ARGS,
  ...JSON_ARG,
} as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'curate',
  description: 'Draw captions of each image, rank them together with its own, keep the best (CapFilt). Run it again after a stop and it goes on.',
  positionals: 'PAIRS',
  args,
  async run(given, { signal, positionals }) {
    const input = given.in ?? positionals[0];
    if (input === undefined || positionals.length > (given.in === undefined ? 1 : 0)) {
      throw new QuerentError('QRT_USAGE', `One file of pairs is read; ${input === undefined ? 'none was' : [given.in, ...positionals].filter((name) => name !== undefined).join(' and ') + ' were'} named.`, { fix: 'querent curate pairs.jsonl --out clean.jsonl' });
    }
    const output = required('out', given.out);
    const draw = wholeNumber('captions', given.captions, 0);
    const keep = wholeNumber('keep', given.keep);
    const topP = finiteNumber('top-p', given['top-p']);
    const maxNewTokens = wholeNumber('max-new-tokens', given['max-new-tokens']);
    const seed = wholeNumber('seed', given.seed, 0);
    if (topP !== undefined && !(topP > 0 && topP <= 1)) throw new QuerentError('QRT_USAGE', `--top-p is ${topP}; a probability above 0 was expected.`);
    const { contrastiveRanker, curateFile, defaultModel } = await import('querent');
    await using querent = await openQuerent(given);
    const captioner = await querent.load(given.model ?? defaultModel(), { signal });
    const ranker = contrastiveRanker(await querent.load(given.ranker ?? defaultModel(['embed']), { signal }));
    const started = performance.now();
    let failed = 0;
    let done = 0;
    const options = {
      ...(draw === undefined ? {} : { draw }),
      ...(keep === undefined ? {} : { keep }),
      ...(topP === undefined ? {} : { topP }),
      ...(maxNewTokens === undefined ? {} : { maxNewTokens }),
      ...(given.prompt === undefined ? {} : { prompt: given.prompt }),
      ...(seed === undefined ? {} : { seed }),
    };
    for await (const event of curateFile(captioner, input, output, { ...options, ranker, restart: given.restart, signal })) {
      if (event.type === 'resumed') note(`Going on after row ${thousands(event.row)}.`);
      else if (event.type === 'row') {
        done++;
        if (event.error !== undefined) {
          failed++;
          if (given.json) printJson({ row: event.index, image: event.name, error: errorJson(event.error) });
          note(`${event.name}   ${describeItemError(event.error)}`);
        }
        progressLine.show(`${thousands(event.index + 1)} rows, ${((1000 * done) / (performance.now() - started)).toFixed(1)} a second`);
      } else {
        progressLine.clear();
        const { rows, failed: bad, kept, web } = event.counts;
        if (given.json) printJson({ rows, failed: bad, kept, web, synthetic: kept - web });
        else printLine(`${thousands(rows)} rows, ${thousands(bad)} failed: ${thousands(kept)} captions in ${output}, ${thousands(web)} of them the images’ own`);
      }
    }
    return failed > 0 ? 1 : 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
