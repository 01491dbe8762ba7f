/**
 * VQA: an image and a question → a short answer. Zero-shot as BLIP-2 does it (arXiv 2301.12597, section 4.1): the question in a
 * template, five beams, a length penalty of -1 that favours short answers. With `candidates` the answer is chosen from them (`rank.ts`).
 * A model whose bridge was trained to read the question (section 4.4: fine-tuned VQA) is given it there too. Steps: `stages.ts`.
 */
import { QuerentError, defineTask, mapBatches, mapBounded, mapResults, validate } from '@querent/core';
import type { ImageSource, JsonSchema, LoadedModel, TaskPlugin, TensorData } from '@querent/core';
import { generateProperties, generatedTextSchema } from './generate-schema.ts';
import { assertImage, imageInputSchema } from './image-input.ts';
import { rankRows, rankedTextSchema } from './rank.ts';
import type { RankedText } from './rank.ts';
import { batching, generateRows, instructed, seen } from './stages.ts';
import type { GeneratedText, RowOptions } from './stages.ts';
import { softPromptOf, written } from './written.ts';

/** A question about an image. What is left out of how to write: 5 beams, length penalty -1, at most 10 tokens. */
export interface VqaInput extends RowOptions {
  readonly image: ImageSource;
  readonly question: string;
  /**
   * Template in which `{}` stands for the question. Default: the model's own (`prompts.vqa` in its config), else
   * `Question: {} Answer:`, or `Question: {} Short answer:` for an encoder-decoder.
   */
  readonly prompt?: string;
  /** Choose the likeliest of these instead of writing. */
  readonly candidates?: readonly string[];
}

export interface VqaOutput extends Omit<GeneratedText, 'finish'> {
  /** Why the text ends; absent where it was chosen from candidates. */
  readonly finish?: GeneratedText['finish'];
  /** All candidates, likeliest first, where there were any. */
  readonly ranking?: readonly RankedText[];
}

const PLACE = '{}';
const TEMPLATES = { 'decoder-only': 'Question: {} Answer:', 'encoder-decoder': 'Question: {} Short answer:' } as const;
/** BLIP-2's, section 4.1; the longest answer is LAVIS's. */
const DECODING: RowOptions = { numBeams: 5, lengthPenalty: -1, maxNewTokens: 10, minNewTokens: 1 };

const input = imageInputSchema(
  'An image and a question about it.',
  {
    ...generateProperties,
    question: { type: 'string', minLength: 1, description: 'What to ask.' },
    prompt: { type: 'string', pattern: '\\{\\}', description: 'Template in which {} stands for the question.' },
    candidates: { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, description: 'Choose the likeliest of these instead of writing.' },
  },
  ['question'],
);

const { finish, ...whole } = generatedTextSchema['properties'] as Readonly<Record<string, JsonSchema>>; // our own, written so
const output: JsonSchema = {
  type: 'object',
  properties: { ...whole, finish: finish!, ranking: { type: 'array', items: rankedTextSchema, description: 'All candidates, likeliest first, where there were any.' } },
  required: ['text', 'score'],
};

/** A question as the language model reads it. */
export function vqaPrompt(question: string, model: Pick<LoadedModel, 'architecture' | 'prompts'>, template?: string): string {
  const used = template ?? model.prompts?.['vqa'] ?? TEMPLATES[model.architecture ?? 'decoder-only'];
  return used.split(PLACE).join(question);
}

function check(given: VqaInput): VqaInput {
  const checked = validate<VqaInput>(input, given, { what: 'the input of vqa' });
  assertImage(checked.image, 'vqa');
  if (checked.question.trim() === '') throw new QuerentError('QRT_USAGE', 'The task vqa was given a blank question.', { fix: 'Ask something.' });
  return { ...checked, question: checked.question.trim() };
}

/** How a question is to be answered: written with these options, or chosen. */
interface Asking {
  readonly options: RowOptions & { readonly prompt: string };
  readonly candidates?: readonly string[];
}

function askingOf(request: VqaInput, model: LoadedModel): Asking {
  const { image: _, question, prompt, candidates, ...options } = request;
  const decoding = options.doSample === true ? { ...DECODING, numBeams: 1 } : { ...DECODING, numBeams: Math.max(5, options.numReturnSequences ?? 1) };
  return { options: { ...decoding, ...options, prompt: vqaPrompt(question, model, prompt) }, ...(candidates === undefined ? {} : { candidates }) };
}

function chosen(texts: readonly RankedText[]): VqaOutput {
  const { text, score } = texts[0]!; // the schema asks for at least one candidate
  return { text, score, ranking: texts };
}

/** A row of a batch: written or chosen. */
interface Asked extends Asking {
  readonly softPrompt: TensorData<'float32'>;
}

const vqa: TaskPlugin<VqaInput, VqaOutput> = defineTask<VqaInput, VqaOutput>({
  name: 'vqa',
  description: 'Answers a question about an image.',
  input,
  output,
  requires: ['encode', 'bridge', 'generate', 'score'],

  async *run(given, { model, signal, stream }) {
    const asked = check(given);
    const { options, candidates } = askingOf(asked, model);
    const softPrompt = await softPromptOf(model, [asked.image], asked.question, signal);
    if (candidates === undefined) {
      yield* written(model, softPrompt, options, { signal, stream });
      return;
    }
    const [texts = []] = await rankRows(model, [{ softPrompt: { ...softPrompt, shape: softPrompt.shape.slice(1) }, prompt: options.prompt, candidates }], signal);
    const answer = chosen(texts);
    if (stream) yield { delta: answer.text };
    yield answer;
  },

  stage: ({ model }) => (source) =>
    mapBounded((given: VqaInput) => check(given).image, { onError: 'item' })(source).pipe(
      seen(model),
      mapResults((features, { item }) => ({ features, instruction: check(item).question })),
      instructed(model),
      mapResults((softPrompt, { item }): Asked => ({ softPrompt, ...askingOf(check(item), model) })),
      mapBatches<VqaInput, Asked, VqaOutput>((rows, { signal }) => answered(model, rows, signal), batching({})),
    ),
});
export default vqa;

/** Writes the answers of the rows without candidates together, and ranks the others. */
async function answered(model: LoadedModel, rows: readonly Asked[], signal: AbortSignal): Promise<VqaOutput[]> {
  const answers: VqaOutput[] = [];
  const writing = rows.flatMap(({ candidates }, i) => (candidates === undefined ? [i] : []));
  const choosing = rows.flatMap(({ candidates, softPrompt, options }, i) => (candidates === undefined ? [] : [{ i, row: { softPrompt, candidates, prompt: options.prompt } }]));
  const texts = await generateRows(model, writing.map((i) => rows[i]!), signal);
  writing.forEach((i, at) => (answers[i] = texts[at]!));
  const rankings = await rankRows(model, choosing.map(({ row }) => row), signal);
  choosing.forEach(({ i }, at) => (answers[i] = chosen(rankings[at]!)));
  return answers;
}
