import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileSchema, editDistance, findMistakes, isQuerentError, nearest, parseJson, parseRecipe, readJson, validate } from './index.ts';
import type { ConfigMistake, JsonSchema } from './index.ts';

const schema: JsonSchema = {
  type: 'object',
  properties: {
    learning_rate: { type: 'number', exclusiveMinimum: 0, description: 'The highest learning rate.' },
    schedule: { enum: ['cosine', 'constant'] },
    data: { type: 'object', properties: { folder: { type: 'string' }, 'a/b': { type: 'string' } }, required: ['folder'], additionalProperties: false },
    stop: { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] },
  },
  required: ['learning_rate'],
  additionalProperties: false,
};

function thrown(run: () => unknown): { code: string; message: string; details: { mistakes: ConfigMistake[] } } {
  try {
    run();
  } catch (error) {
    if (isQuerentError(error)) return error as never; // the shape that the test reads
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('validate', () => {
  it('gives a good value back', () => {
    const value = { learning_rate: 1e-4, schedule: 'cosine' };
    expect(validate(schema, value)).toBe(value);
  });

  it('names file, place, value, expectation and the near name, for all mistakes at once', () => {
    const error = thrown(() =>
      validate(schema, { learning_rat: 1, schedule: 'cosin', data: { folder: 3 }, stop: 7 }, { file: 'recipes/mine.json', what: 'the recipe' }),
    );
    expect(error.code).toBe('QRT_CONFIG_INVALID');
    expect(error.message.split('\n')[0]).toBe('recipes/mine.json: the recipe has 5 mistakes:');
    expect(error.message).toContain('(root)  "learning_rate" is missing: The highest learning rate');
    expect(error.message).toContain('/learning_rat  unknown key "learning_rat". Did you mean "learning_rate"?');
    expect(error.message).toContain('/schedule  is "cosin", expected one of "cosine", "constant". Did you mean "cosine"?');
    expect(error.message).toContain('/data/folder  is 3, expected a string');
    expect(error.message).toContain('/stop  is 7, expected string or array');
    expect(error.details.mistakes).toHaveLength(5);
    expect(error.details.mistakes.find((one) => one.suggestion === 'cosine')).toMatchObject({ pointer: '/schedule', value: 'cosin' });
  });

  it('lists the known keys when none is near, and writes pointers by the book', () => {
    const [mistake] = findMistakes(schema, { learning_rate: 1, 'x~/y': 2 }, '/train');
    expect(mistake).toMatchObject({ pointer: '/train/x~0~1y', value: 2 });
    expect(mistake?.message).toContain('known are learning_rate, schedule, data, stop');
  });

  it('says what a number lacks', () => {
    expect(findMistakes(schema, { learning_rate: -1 })[0]?.message).toBe('is -1, but it must be > 0');
  });

  it('never fails in another way, whatever the value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        try {
          validate(schema, value);
        } catch (error) {
          expect(isQuerentError(error) && error.code).toBe('QRT_CONFIG_INVALID');
        }
      }),
    );
  });

  it('tells of a value that is nested without end, or very long, in a few words', () => {
    const deep = JSON.parse('['.repeat(50_000) + ']'.repeat(50_000)) as unknown;
    expect(findMistakes(schema, { learning_rate: deep, schedule: 'x'.repeat(1000) }).map((one) => one.message.length < 150)).toEqual([true, true]);
  });

  it('compiles a schema once, and refuses one that is none', () => {
    expect(compileSchema(schema)).toBe(compileSchema(schema));
    expect(() => compileSchema({ type: 'objekt' })).toThrow(expect.objectContaining({ code: 'QRT_PLUGIN_INVALID' }));
  });

  it('takes two schemas with one $id', () => {
    expect(validate({ $id: 'https://example.org/x', type: 'string' }, 'a')).toBe('a');
    expect(validate({ $id: 'https://example.org/x', type: 'number' }, 1)).toBe(1);
  });
});

describe('readJson', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'querent-core-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('reads a document, also one with a byte order mark', async () => {
    await writeFile(join(folder, 'a.json'), '\ufeff{"a": [1]}');
    expect(await readJson(join(folder, 'a.json'))).toEqual({ a: [1] });
  });

  it('says where a document stops being JSON', async () => {
    const file = join(folder, 'bad.json');
    await writeFile(file, '{\n  "a": 1,\n  "b": [1, 2,],\n  "c": "a long enough text that V8 cuts its quotation of the document"\n}');
    await expect(readJson(file)).rejects.toMatchObject({ code: 'QRT_CONFIG_UNREADABLE', details: { line: 3, column: 14 } });
  });

  it('refuses a file that is not there, a folder, and one that is too large', async () => {
    await expect(readJson(join(folder, 'none.json'))).rejects.toThrow(/there is no such file/);
    await expect(readJson(folder)).rejects.toThrow(/not a regular file/);
    await writeFile(join(folder, 'big.json'), JSON.stringify('x'.repeat(100)));
    await expect(readJson(join(folder, 'big.json'), { maxBytes: 50 })).rejects.toThrow(/it has 102 bytes/);
  });

  it.each([
    ['{"a": 1,}', 1, 9],
    ['{"a": }', 1, 7],
    ['[1, 2', 1, 6],
    ['', 1, 1],
    ['{"a": "x\n"}', 1, 9],
    ["{'a': 1}", 1, 2],
  ])('finds the place in %j', (text, line, column) => {
    expect(() => parseJson(text, 'f')).toThrow(expect.objectContaining({ details: { file: 'f', line, column } }));
  });
});

describe('nearest', () => {
  it('finds what was probably meant, and nothing when nothing is near', () => {
    expect(nearest('hiden_size', ['hidden_size', 'num_layers'])).toBe('hidden_size');
    expect(nearest('numLayers', ['hidden_size', 'num_layers'])).toBe('num_layers');
    expect(nearest('tfsj', ['tfjs', 'onnxruntime'])).toBe('tfjs');
    expect(nearest('zebra', ['hidden_size', 'num_layers'])).toBeUndefined();
    expect(nearest('x', [])).toBeUndefined();
  });

  it('measures a distance: symmetric, zero only for equals, never more than the longer one', () => {
    const word = fc.string({ maxLength: 12 });
    fc.assert(
      fc.property(word, word, (a, b) => {
        const d = editDistance(a, b);
        expect(editDistance(b, a)).toBe(d);
        expect(d === 0).toBe(a === b);
        expect(d).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });
});

describe('parseRecipe', () => {
  const recipe = {
    vision_config: { model_type: 'siglip_vision_model', from: 'google/siglip-base-patch16-224' },
    qformer_config: { model_type: 'blip_2_qformer', num_query_tokens: 32 },
    text_config: { model_type: 'qwen2', from: 'Qwen/Qwen2-0.5B' },
  };

  it('reads a mixed recipe and leaves foreign keys alone', () => {
    const parsed = parseRecipe({ ...recipe, torch_dtype: 'float32', initializer_factor: 1 });
    expect(parsed.text_config?.model_type).toBe('qwen2');
    expect(parsed['torch_dtype']).toBe('float32');
  });

  it("has HuggingFace's model types where a blip-2 file leaves them out", () => {
    const parsed = parseRecipe({ model_type: 'blip-2', vision_config: {}, qformer_config: {}, text_config: { model_type: 't5' } });
    expect(parsed.vision_config.model_type).toBe('blip_2_vision_model');
    expect(parsed.qformer_config.model_type).toBe('blip_2_qformer');
    expect(parsed.text_config?.model_type).toBe('t5');
  });

  it('needs no language model, but an encoder and a bridge', () => {
    const { text_config: _, ...retrieval } = recipe;
    expect(parseRecipe(retrieval).text_config).toBeUndefined();
    expect(() => parseRecipe({ vision_config: {} }, { file: 'config.json' })).toThrow(/config\.json: the model config has 2 mistakes/);
    expect(() => parseRecipe('nothing')).toThrow(expect.objectContaining({ code: 'QRT_CONFIG_INVALID' }));
  });
});
