/** NAME: a photograph → a sentence about it, and how many words that is. Change what it does, then its two schemas. */
import { defineTask } from '@querent/core';
import type { ImageSource, TaskPlugin } from '@querent/core';

export interface Input {
  /** A path, a URL, bytes or pixels. */
  readonly image: ImageSource;
  readonly prompt?: string;
}

export interface Output {
  readonly text: string;
  readonly words: number;
}

const plugin: TaskPlugin<Input, Output> = defineTask<Input, Output>({
  name: 'NAME',
  description: 'Writes a sentence about a photograph and counts its words.',
  // Each property is an option of `querent NAME`; `image` is given without one.
  input: {
    type: 'object',
    properties: {
      image: { description: 'The photograph.' }, // bytes are no JSON: no type
      prompt: { type: 'string', description: 'The beginning of the sentence.' },
    },
    required: ['image'],
    additionalProperties: false,
  },
  output: {
    type: 'object',
    properties: { text: { type: 'string' }, words: { type: 'integer', minimum: 0 } },
    required: ['text', 'words'],
  },
  requires: ['encode', 'bridge', 'generate'],

  async *run({ image, prompt }, { model, signal }) {
    const pixels = await model.prepare(image, { signal }); // float32 [3, height, width]
    const features = await model.encode([pixels], { signal }); // float32 [1, patches, width]
    const softPrompt = await model.bridge(features, { signal }); // float32 [1, queries, hidden]
    for await (const event of model.generate(softPrompt, { prompt: prompt ?? model.prompts?.['caption'] ?? '', maxNewTokens: 30, signal })) {
      if (event.type === 'text') yield { text: event.text, words: event.text.split(/\s+/).filter((word) => word !== '').length };
    }
  },
});
export default plugin;
