/** JSON Schemas of what every writing task shares: how to write, and what was written. */
import type { JsonSchema } from '@querent/core';

/** JSON Schema of `RowOptions`, a property each. */
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
  numReturnSequences: { type: 'integer', minimum: 1, maximum: 100, description: 'Texts to give, best first, in `nBest`; more than one needs as many beams, or draws.' },
};

const textProperties: Readonly<Record<string, JsonSchema>> = {
  text: { type: 'string', description: 'What was written.' },
  score: { type: 'number', description: 'Mean log-probability of its tokens, length penalty applied.' },
  finish: { enum: ['end', 'stop', 'length'], description: 'Why it ends: the model was done, a stop text came, it was cut.' },
};

/** JSON Schema of `GeneratedText`. */
export const generatedTextSchema: JsonSchema = {
  type: 'object',
  properties: {
    ...textProperties,
    nBest: {
      type: 'array',
      items: { type: 'object', properties: textProperties, required: ['text', 'score', 'finish'] },
      description: 'All texts, best first, where more than one was asked for.',
    },
  },
  required: ['text', 'score', 'finish'],
};
