import { describe, expect, expectTypeOf, it } from 'vitest';
import { createRegistry, defineDataset, defineEngine, defineMetric, defineTask } from './index.ts';
import type { LoadedModel, SchemaType, TaskPlugin } from './index.ts';

const altText = defineTask({
  name: 'alt-text',
  input: { type: 'object', properties: { html: { type: 'string' }, limit: { type: 'integer' } }, required: ['html'] },
  output: { type: 'object', properties: { html: { type: 'string' } }, required: ['html'] },
  async *run({ html, limit }, { model, signal }) {
    expectTypeOf(html).toEqualTypeOf<string>();
    expectTypeOf(limit).toEqualTypeOf<number | undefined>();
    expectTypeOf(model).toEqualTypeOf<LoadedModel>();
    signal.throwIfAborted();
    yield { html: html.toUpperCase() };
  },
});

describe('defineTask', () => {
  it('adds kind and contract, and knows its types from the schemas', async () => {
    expect(altText).toMatchObject({ kind: 'task', contract: 1, name: 'alt-text' });
    expectTypeOf(altText).toEqualTypeOf<TaskPlugin<{ html: string; limit?: number }, { html: string }>>();
    expect(createRegistry([altText]).get('task', 'alt-text')).toBe(altText);
  });

  it('takes its types from the call where schemas cannot say them', () => {
    interface Input {
      readonly image: Uint8Array;
    }
    const size: TaskPlugin<Input, number> = defineTask<Input, number>({
      name: 'size',
      description: 'How many bytes.',
      input: {},
      output: { type: 'number' },
      async *run({ image }) {
        yield image.byteLength;
      },
    });
    expect(size.description).toBe('How many bytes.');
  });
});

describe('the other kinds', () => {
  it('read the same', () => {
    const engine = defineEngine({ name: 'none', backends: ['cpu'], create: () => Promise.reject(new Error('not here')) });
    const dataset = defineDataset<{ file: string }>({
      name: 'one',
      async *open({ file }, { root }) {
        yield { id: file, image: `${root}/${file}`, captions: [] };
      },
    });
    const metric = defineMetric({
      name: 'exact',
      evaluate: (judged) => ({ figures: { exact: judged.filter((one) => one.reference.includes(one.prediction)).length / judged.length } }),
    });
    const registry = createRegistry([engine, dataset, metric]);
    expect(registry.list('metric').map((one) => one.name)).toEqual(['exact']);
    expect([engine.kind, dataset.kind, metric.kind]).toEqual(['engine', 'dataset', 'metric']);
  });
});

describe('SchemaType', () => {
  it('reads the schemas that people write', () => {
    expectTypeOf<SchemaType<{ type: 'array'; items: { type: 'string' } }>>().toEqualTypeOf<string[]>();
    expectTypeOf<SchemaType<{ enum: readonly ['a', 'b'] }>>().toEqualTypeOf<'a' | 'b'>();
    expectTypeOf<SchemaType<{ anyOf: readonly [{ type: 'string' }, { type: 'null' }] }>>().toEqualTypeOf<string | null>();
    expectTypeOf<SchemaType<{ type: readonly ['string', 'number'] }>>().toEqualTypeOf<string | number>();
    expectTypeOf<SchemaType<Record<string, unknown>>>().toEqualTypeOf<unknown>();
  });
});
