/**
 * Caption: an image (and perhaps the beginning of a sentence) → a sentence. The shortest complete task; read it first when
 * writing another one. The steps are in `stages.ts`.
 */
import { defineTask, mapBounded, mapResults, validate } from '@querent/core';
import type { ImageSource, LoadedModel, TaskPlugin } from '@querent/core';
import { generateProperties, generatedTextSchema } from './generate-schema.ts';
import { assertImage, holdsImage, imageInputSchema } from './image-input.ts';
import { generated, instructed, seen } from './stages.ts';
import type { GeneratedText, RowOptions } from './stages.ts';
import { softPromptOf, written } from './written.ts';

/** An image with how to write about it. What is left out has the value of the model's `generation_config.json`. */
export interface CaptionRequest extends RowOptions {
  readonly image: ImageSource;
}

/** What may be captioned: an image alone, or a {@link CaptionRequest}. */
export type CaptionInput = ImageSource | CaptionRequest;

export type CaptionOutput = GeneratedText;

const input = imageInputSchema('An image, or { image, … } with how to write about it.', generateProperties);
const what = 'the input of caption';

function requestOf(given: CaptionInput): CaptionRequest {
  const request = holdsImage<CaptionRequest>(given) ? given : { image: given };
  assertImage(request.image, 'caption');
  return request;
}

/** The request's own prompt, or the one that the model was trained with (`prompts.caption` in its config). */
function optionsOf(request: CaptionRequest, model: LoadedModel): RowOptions {
  const { image: _, ...options } = request;
  const usual = model.prompts?.['caption'];
  return usual === undefined ? options : { prompt: usual, ...options };
}

const caption: TaskPlugin<CaptionInput, CaptionOutput> = defineTask<CaptionInput, CaptionOutput>({
  name: 'caption',
  description: 'Writes a sentence about an image.',
  input,
  output: generatedTextSchema,
  requires: ['encode', 'bridge', 'generate'],

  async *run(given, { model, signal, stream }) {
    const request = requestOf(validate<CaptionInput>(input, given, { what }));
    const options = optionsOf(request, model);
    const softPrompt = await softPromptOf(model, [request.image], options.prompt ?? '', signal); // a bridge that reads instructions reads it too
    yield* written(model, softPrompt, options, { signal, stream });
  },

  stage: ({ model }) => (source) =>
    mapBounded((given: CaptionInput) => requestOf(validate<CaptionInput>(input, given, { what })).image, { onError: 'item' })(source).pipe(
      seen(model),
      mapResults((features, { item }) => ({ features, instruction: optionsOf(requestOf(item), model).prompt ?? '' })),
      instructed(model),
      mapResults((softPrompt, { item }) => ({ softPrompt, options: optionsOf(requestOf(item), model) })),
      generated(model),
    ),
});
export default caption;
