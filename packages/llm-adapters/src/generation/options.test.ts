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
});
