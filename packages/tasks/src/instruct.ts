/**
 * Instruct: an image and an instruction in words → whatever the instruction asks for (BLIP-2, section 4.1 and figure 4: instructed
 * zero-shot generation; InstructBLIP). The instruction is the prompt as it stands; a model whose bridge reads instructions is given it
 * there too. Greedy unless told otherwise, so that text streams token by token.
 */
import { defineTask, mapBounded, mapResults, validate } from '@querent/core';
import type { ImageSource, TaskPlugin } from '@querent/core';
import { generateProperties, generatedTextSchema } from './generate-schema.ts';
import { assertImage, imageInputSchema } from './image-input.ts';
import { generated, instructed, seen } from './stages.ts';
import type { GeneratedText, PromptedRow, RowOptions } from './stages.ts';
import { softPromptOf, written } from './written.ts';

/** What to do with an image. What is left out of how to write: greedy, 1 to 64 tokens, then the model's own values. */
export interface InstructInput extends Omit<RowOptions, 'prompt'> {
  readonly image: ImageSource;
  readonly instruction: string;
}

export type InstructOutput = GeneratedText;

const MAX_NEW_TOKENS = 64;

const { prompt: _prompt, ...howToWrite } = generateProperties;
const input = imageInputSchema('An image and what to do with it.', { ...howToWrite, instruction: { type: 'string', minLength: 1, description: 'What to do, in words.' } }, ['instruction']);

function check(given: InstructInput): InstructInput {
  const checked = validate<InstructInput>(input, given, { what: 'the input of instruct' });
  assertImage(checked.image, 'instruct');
  return checked;
}

function optionsOf(request: InstructInput): RowOptions {
  const { image: _, instruction, ...options } = request;
  const numBeams = options.doSample === true ? 1 : (options.numReturnSequences ?? 1);
  return { numBeams, maxNewTokens: MAX_NEW_TOKENS, minNewTokens: 1, ...options, prompt: instruction };
}

const instruct: TaskPlugin<InstructInput, InstructOutput> = defineTask<InstructInput, InstructOutput>({
  name: 'instruct',
  description: 'Does what an instruction asks for, about an image.',
  input,
  output: generatedTextSchema,
  requires: ['encode', 'bridge', 'generate'],

  async *run(given, { model, signal, stream }) {
    const asked = check(given);
    const softPrompt = await softPromptOf(model, [asked.image], asked.instruction, signal);
    yield* written(model, softPrompt, optionsOf(asked), { signal, stream });
  },

  stage: ({ model }) => (source) =>
    mapBounded((given: InstructInput) => check(given).image, { onError: 'item' })(source).pipe(
      seen(model),
      mapResults((features, { item }) => ({ features, instruction: item.instruction })),
      instructed(model),
      mapResults((softPrompt, { item }): PromptedRow => ({ softPrompt, options: optionsOf(item) })),
      generated(model),
    ),
});
export default instruct;
