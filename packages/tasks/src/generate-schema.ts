/** JSON Schemas of what every writing task shares: how to write, and what was written. */
import type { JsonSchema } from '@querent/core';

const tokenId: JsonSchema = { type: 'integer', minimum: 0 };
const tokenIds = (description: string): JsonSchema => ({ type: 'array', items: tokenId, description });

/** JSON Schema of `RowOptions`, a property each. */
export const generateProperties: Readonly<Record<string, JsonSchema>> = {
  prompt: { type: 'string', description: 'Text that the answer goes on from, for instance "a photo of".' },
  maxNewTokens: { type: 'integer', minimum: 1, description: 'Most tokens to write.' },
  minNewTokens: { type: 'integer', minimum: 0, description: 'Tokens before an end may be written.' },
  numBeams: { type: 'integer', minimum: 1, description: 'Hypotheses kept; 1 is greedy.' },
  maxLength: { type: 'integer', minimum: 1, description: 'Most tokens altogether: queries, prompt and what is written. maxNewTokens comes before it.' },
  minLength: { type: 'integer', minimum: 0, description: 'Fewest tokens altogether, counted like maxLength.' },
  earlyStopping: { enum: [true, false, 'never'], description: 'Beams stop when there are numBeams texts, when none can become better at this length, or at any.' },
  lengthPenalty: { type: 'number', description: "Exponent of the length that a beam's score is divided by." },
  doSample: { type: 'boolean', description: 'Draw tokens instead of taking the likeliest.' },
  temperature: { type: 'number', exclusiveMinimum: 0, description: 'Divides the logits before a draw.' },
  topK: { type: 'integer', minimum: 0, description: 'Only the k likeliest tokens are drawn from; 0 is all.' },
  topP: { type: 'number', exclusiveMinimum: 0, maximum: 1, description: 'Only the likeliest tokens that share this probability are drawn from.' },
  minP: { type: 'number', minimum: 0, maximum: 1, description: 'Only tokens at least so likely, relative to the likeliest, are drawn from.' },
  typicalP: { type: 'number', exclusiveMinimum: 0, maximum: 1, description: 'Only typical tokens that share this probability are drawn from.' },
  repetitionPenalty: { type: 'number', exclusiveMinimum: 0, description: 'Divides the scores of tokens already there.' },
  noRepeatNgramSize: { type: 'integer', minimum: 0, description: 'No run of this many tokens twice; 0 is off.' },
  badWordsIds: { type: 'array', items: { type: 'array', items: tokenId, minItems: 1 }, description: 'Runs of token ids that are never written.' },
  suppressTokens: tokenIds('Token ids that are never written.'),
  beginSuppressTokens: tokenIds('Token ids that are not written first.'),
  forcedBosTokenId: { ...tokenId, description: 'The first token.' },
  forcedEosTokenId: { ...tokenId, description: 'The last token of a text that reaches its greatest length.' },
  forcedDecoderIds: { type: 'array', items: { type: 'array', items: tokenId, minItems: 2, maxItems: 2 }, description: 'Places, counted like maxLength from 0, and the token ids that stand there.' },
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
