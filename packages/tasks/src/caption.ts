/**
 * Caption: an image (and perhaps the beginning of a sentence) → a sentence. The shortest complete task; read it first when
 * writing another one. The steps are in `stages.ts`.
 */
import { defineTask, mapBounded, mapResults, validate } from '@querent/core';
import type { ImageSource, JsonSchema, TaskPlugin } from '@querent/core';
import { assertImage, holdsImage, imageInputSchema } from './image-input.ts';
import { bridged, encoded, generated, prepared } from './stages.ts';
import type { GeneratedText, RowOptions } from './stages.ts';

/** An image with how to write about it. What is left out has the value of the model's `generation_config.json`. */
export interface CaptionRequest extends RowOptions {
  readonly image: ImageSource;
}

/** What may be captioned: an image alone, or a {@link CaptionRequest}. */
export type CaptionInput = ImageSource | CaptionRequest;

export type CaptionOutput = GeneratedText;

/** JSON Schema of {@link RowOptions}, a property each. */
export const generateProperties: Readonly<Record<string, JsonSchema>> = {
  prompt: { type: 'string', description: 'Text that the answer goes on from, for instance "a photo of".' },
  maxNewTokens: { type: 'integer', minimum: 1, description: 'Most tokens to write.' },
  minNewTokens: { type: 'integer', minimum: 0, description: 'Tokens before an end may be written.' },
  numBeams: { type: 'integer', minimum: 1, description: 'Hypotheses kept; 1 is greedy.' },
  lengthPenalty: { type: 'number', description: "Exponent of the length that a beam's score is divided by." },
  doSample: { type: 'boolean', description: 'Draw tokens instead of taking the likeliest.' },
  temperature: { type: 'number', exclusiveMinimum: 0, description: 'Divides the logits before a draw.' },
  topK: { type: 'integer', minimum: 0, description: 'Only the k likeliest tokens are drawn from; 0 is all.' },
  topP: { type: 'number', exclusiveMinimum: 0, maximum: 1, description: 'Only the likeliest tokens that share this probability are drawn from.' },
  repetitionPenalty: { type: 'number', exclusiveMinimum: 0, description: 'Divides the scores of tokens already there.' },
  noRepeatNgramSize: { type: 'integer', minimum: 0, description: 'No run of this many tokens twice; 0 is off.' },
  stop: { type: 'array', items: { type: 'string', minLength: 1 }, description: 'Ends a text where one of these appears.' },
  seed: { type: 'integer', minimum: 0, description: 'Makes draws repeatable.' },
};

/** JSON Schema of {@link GeneratedText}. */
export const generatedTextSchema: JsonSchema = {
  type: 'object',
  properties: {
    text: { type: 'string', description: 'What was written.' },
    score: { type: 'number', description: 'Mean log-probability of its tokens, length penalty applied.' },
    finish: { enum: ['end', 'stop', 'length'], description: 'Why it ends: the model was done, a stop text came, it was cut.' },
  },
  required: ['text', 'score', 'finish'],
};

const input = imageInputSchema('An image, or { image, … } with how to write about it.', generateProperties);
const what = 'the input of caption';

function requestOf(given: CaptionInput): CaptionRequest {
  const request = holdsImage<CaptionRequest>(given) ? given : { image: given };
  assertImage(request.image, 'caption');
  return request;
}

const caption: TaskPlugin<CaptionInput, CaptionOutput> = defineTask<CaptionInput, CaptionOutput>({
  name: 'caption',
  description: 'Writes a sentence about an image.',
  input,
  output: generatedTextSchema,
  requires: ['encode', 'bridge', 'generate'],

  async *run(given, { model, signal, stream }) {
    const { image, ...options } = requestOf(validate<CaptionInput>(input, given, { what }));
    const pixels = await model.prepare(image, { signal });
    const softPrompt = await model.bridge(await model.encode([pixels], { signal }), { signal });
    let hasDeltas = false;
    for await (const event of model.generate(softPrompt, { ...options, signal })) {
      if (event.type === 'delta') {
        if (!stream) continue;
        hasDeltas = true;
        yield { delta: event.delta };
      } else {
        const { text, score, finish } = event;
        if (stream && !hasDeltas) yield { delta: text }; // beam search: nothing is certain before the end
        yield { text, score, finish };
      }
    }
  },

  stage: ({ model }) => (source) =>
    mapBounded((given: CaptionInput) => requestOf(validate<CaptionInput>(input, given, { what })).image, { onError: 'item' })(source).pipe(
      prepared(model),
      encoded(model),
      bridged(model),
      mapResults((softPrompt, { item }) => {
        const { image: _, ...options } = requestOf(item);
        return { softPrompt, options };
      }),
      generated(model),
    ),
});
export default caption;
