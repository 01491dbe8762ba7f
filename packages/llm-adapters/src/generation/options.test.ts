import { isQuerentError } from '@querent/core';
import { describe, expect, it } from 'vitest';
import type { GenerationOptions } from './options.ts';
import { fromGenerationConfig, resolveOptions, toGenerationConfig } from './options.ts';

describe('generation options', () => {
  it('survive the way to generation_config.json and back', () => {
    const options: GenerationOptions = { maxNewTokens: 12, minNewTokens: 2, numBeams: 5, lengthPenalty: -1, earlyStopping: 'never', topP: 0.9, eosTokenIds: [2, 50118] };
    expect(fromGenerationConfig(toGenerationConfig(options))).toEqual(options);
    expect(toGenerationConfig({ eosTokenIds: [7] })).toEqual({ eos_token_id: 7 });
  });

  it('pass over null and foreign keys, and read max_length as new tokens', () => {
    expect(fromGenerationConfig({ max_length: 20, top_k: 0, temperature: null, transformers_version: '5' })).toEqual({ maxNewTokens: 20 });
  });

  it('are refused all at once when out of range', () => {
    try {
      resolveOptions({ maxNewTokens: 0, temperature: -1, numBeams: 2, numReturnSequences: 3 }, { eos: [] });
      expect.unreachable();
    } catch (error) {
      expect(isQuerentError(error) && error.code).toBe('QRT_USAGE');
      expect(String(error)).toMatch(/maxNewTokens is 0.*numReturnSequences is 3.*temperature is -1/);
    }
  });

  it('count all tokens where transformers does: maxLength and minLength hold what has been read', () => {
    const resolved = (options: GenerationOptions, promptLength: number): number[] => {
      const { maxNewTokens, minNewTokens } = resolveOptions(options, { eos: [] }, promptLength);
      return [maxNewTokens, minNewTokens];
    };
    expect(resolved({ maxLength: 20, minLength: 10 }, 13)).toEqual([7, 0]);
    expect(resolved({ maxLength: 20, minLength: 10 }, 1)).toEqual([19, 9]);
    expect(resolved({ maxLength: 20, maxNewTokens: 5, minLength: 10, minNewTokens: 2 }, 13)).toEqual([5, 2]);
    expect(() => resolved({ maxLength: 20 }, 36)).toThrow(/maxLength is 20, but 36 tokens have been read already/);
    expect(fromGenerationConfig({ max_length: 20, min_length: 3 }, 'whole')).toEqual({ maxLength: 20, minLength: 3 });
    expect(fromGenerationConfig({ max_length: 20, max_new_tokens: 4 })).toEqual({ maxNewTokens: 4 });
  });

  it('say everything in generation_config.json under the names of transformers', () => {
    const options: GenerationOptions = {
      maxLength: 40, minLength: 4, stopStrings: ['\n'], badWordsIds: [[3, 4]], suppressTokens: [7], beginSuppressTokens: [8], forcedDecoderIds: [[1, 9]], forcedBosTokenId: 1,
      forcedEosTokenId: 2, minP: 0.1, typicalP: 0.9, noRepeatNgramSize: 3, repetitionPenalty: 1.2, doSample: true, temperature: 0.7, topK: 5, numReturnSequences: 2,
    };
    const config = toGenerationConfig(options);
    expect(config).toMatchObject({ max_length: 40, stop_strings: ['\n'], forced_decoder_ids: [[1, 9]], begin_suppress_tokens: [8], bad_words_ids: [[3, 4]] });
    expect(fromGenerationConfig(config, 'whole')).toEqual(options);
    expect(fromGenerationConfig({ stop_strings: 'END' })).toEqual({ stopStrings: ['END'] });
  });

  it('are refused when a file holds something of another kind', () => {
    const hostile = { suppress_tokens: 'all', bad_words_ids: [[]], forced_decoder_ids: [[1]], early_stopping: 'soon', stop_strings: [''], eos_token_id: ['x'], forced_bos_token_id: -1 };
    expect(() => resolveOptions(fromGenerationConfig(hostile), { eos: [] })).toThrow(
      /earlyStopping is soon.*badWordsIds.*suppressTokens is all.*eosTokenIds is x.*forcedBosTokenId is -1.*forcedDecoderIds.*stopStrings/,
    );
  });
});
