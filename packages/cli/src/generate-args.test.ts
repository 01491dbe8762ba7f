import { describe, expect, it } from 'vitest';
import { generateOptions } from './generate-args.ts';

describe('decoding options of the command line', () => {
  it('are those of the task; a number for draws asks for a draw', () => {
    expect(generateOptions({})).toEqual({});
    expect(generateOptions({ beams: '5', n: '3', 'length-penalty': '-1', 'early-stopping': 'never', 'no-repeat-ngram-size': '2', stop: String.raw`.\n` })).toEqual({
      numBeams: 5, numReturnSequences: 3, lengthPenalty: -1, earlyStopping: 'never', noRepeatNgramSize: 2, stop: ['.\n'],
    });
    expect(generateOptions({ 'min-p': '0.1', seed: '0' })).toEqual({ minP: 0.1, doSample: true, seed: 0 });
    expect(generateOptions({ 'max-length': '20', 'min-length': '0', 'early-stopping': 'false' })).toEqual({ maxLength: 20, minLength: 0, earlyStopping: false });
  });

  it('are refused when they are no numbers, or not one of the words', () => {
    expect(() => generateOptions({ 'top-p': 'most' })).toThrow(/--top-p/);
    expect(() => generateOptions({ 'early-stopping': 'soon' })).toThrow(/--early-stopping is "soon"; true, false or never/);
  });
});
