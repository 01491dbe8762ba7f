/** Against a small server that speaks the used part of Qdrant's REST; against a real one where QDRANT_URL names it. */
import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { StoreRow, StoreSpace } from '@querent/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import qdrant from './index.ts';

interface Point {
  readonly id: string;
  readonly vector: readonly (readonly number[])[];
  readonly payload: Readonly<Record<string, unknown>>;
}

let server: Server;
let base = process.env['QDRANT_URL'] ?? '';
const collections = new Map<string, { readonly size: number; readonly points: Map<string, Point> }>();
let answerWith: { readonly status: number; readonly text: string } | undefined;

beforeAll(async () => {
  server = createServer((request, response) => {
    void handle(request).then(({ status, result }) => {
      const { status: forced, text } = answerWith ?? {};
      response.writeHead(forced ?? status, { 'content-type': 'application/json' });
      response.end(text ?? JSON.stringify({ result, status: status < 300 ? 'ok' : { error: 'no' }, time: 0 }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  if (base === '') base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

async function handle(request: IncomingMessage): Promise<{ status: number; result?: unknown }> {
  let text = '';
  for await (const piece of request) text += String(piece);
  const body = (text === '' ? {} : JSON.parse(text)) as Record<string, never>; // what our own store sends
  const [, , name = '', ...rest] = (request.url ?? '').split('?')[0]!.split('/');
  const action = `${request.method} ${rest.join('/')}`.trim();
  const there = collections.get(name);
  if (action === 'PUT') {
    if (body['vectors'].multivector_config.comparator !== 'max_sim' || body['vectors'].distance !== 'Dot') return { status: 400 };
    collections.set(name, { size: body['vectors'].size, points: new Map() });
    return { status: 200, result: true };
  }
  if (there === undefined) return { status: 404 };
  const images = [...there.points.values()].filter(({ payload }) => payload['kind'] === 'image').sort((a, b) => (a.id < b.id ? -1 : 1));
  switch (action) {
    case 'GET':
      return { status: 200, result: { status: 'green' } };
    case 'PUT index':
      return { status: 200, result: true };
    case 'PUT points':
      for (const point of body['points'] as Point[]) {
        if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(point.id) || point.vector.some((one) => one.length !== there.size)) return { status: 400 };
        there.points.set(point.id, point);
      }
      return { status: 200, result: true };
    case 'POST points':
      return { status: 200, result: (body['ids'] as string[]).flatMap((id) => there.points.get(id) ?? []) };
    case 'POST points/delete':
      for (const id of body['points'] as string[]) there.points.delete(id);
      return { status: 200, result: true };
    case 'POST points/count':
      return { status: 200, result: { count: images.length } };
    case 'POST points/scroll': {
      const start = body['offset'] === null ? 0 : images.findIndex(({ id }) => id === body['offset']);
      const page = images.slice(start, start + 2); // smaller pages than asked for: the client must follow the offset
      return { status: 200, result: { points: page, next_page_offset: images[start + 2]?.id ?? null } };
    }
    case 'POST points/query': {
      const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, k) => sum + value * b[k]!, 0);
      const score = ({ vector }: Point): number => (body['query'] as number[][]).reduce((sum, asked) => sum + Math.max(...vector.map((one) => dot(one, asked))), 0);
      const points = images.map((point) => ({ id: point.id, payload: point.payload, score: score(point) })).sort((a, b) => b.score - a.score);
      return { status: 200, result: { points: points.slice(0, body['limit'] as number) } };
    }
    default:
      return { status: 405 };
  }
}

const unit = (values: readonly number[]): number[] => values.map((value) => value / Math.hypot(...values));
const space: StoreSpace = { queries: 2, shared: 3, model: 'tiny', probe: Float32Array.from(unit([1, 2, 3])) };
const row = (id: string, a: readonly number[], b: readonly number[]): StoreRow => ({ id, version: `v-${id}`, vectors: Float32Array.from([...unit(a), ...unit(b)]) });
const fresh = (): string => `${base}/test-${Math.random().toString(36).slice(2)}`;

it('adds, replaces, removes, lists and counts', async () => {
  const location = fresh();
  await using store = await qdrant.open(location, { space, write: true });
  await store.add(['a/1', 'a/2', 'b/1', 'a/3', 'a/4'].map((id, i) => row(id, [1, i, 0], [0, 1, i])));
  await store.add([{ ...row('a/1', [0, 0, 1], [0, 0, 1]), version: 'new' }]);
  expect(store.size).toBe(5);
  expect([await store.version('a/1'), await store.version('b/1'), await store.version('c')]).toEqual(['new', 'v-b/1', undefined]);
  await store.remove(['a/2', 'never']);
  const ids: string[] = [];
  for await (const id of store.ids('a/')) ids.push(id);
  expect(ids.sort()).toEqual(['a/1', 'a/3', 'a/4']);
  await using again = await qdrant.open(location);
  expect(again.size).toBe(4);
  expect(again.space).toMatchObject({ queries: 2, shared: 3, model: 'tiny' });
});

it('scores by the largest cosine over the queries, and an image by the mean of that', async () => {
  await using store = await qdrant.open(fresh(), { space, write: true });
  await store.add([row('x', [1, 0, 0], [0, 1, 0]), row('y', [0, 0, 1], [0, 1, 1])]);
  const [first, second] = await store.search(Float32Array.from([0, 1, 0]), { top: 2 });
  expect(first).toEqual({ id: 'x', similarity: 1 });
  expect(second!.similarity).toBeCloseTo(Math.SQRT1_2, 5);
  const [same] = await store.search(Float32Array.from([1, 0, 0, 0, 1, 0]), { top: 1 });
  expect(same!.similarity).toBeCloseTo(1, 5);
});

it('refuses another model, a place that is none, vectors that do not fit', async () => {
  const location = fresh();
  await using store = await qdrant.open(location, { space, write: true });
  await expect(qdrant.open(location, { space: { ...space, probe: Float32Array.from([1, 0, 0]) } })).rejects.toMatchObject({ code: 'QRT_STORE' });
  await expect(qdrant.open(fresh())).rejects.toMatchObject({ code: 'QRT_STORE' });
  await expect(qdrant.open('photos.index')).rejects.toMatchObject({ code: 'QRT_USAGE' });
  await expect(store.add([{ id: 'z', version: '1', vectors: new Float32Array(5) }])).rejects.toMatchObject({ code: 'QRT_USAGE' });
  await expect(qdrant.open('http://127.0.0.1:1/x')).rejects.toMatchObject({ code: 'QRT_STORE' });
});

it.skipIf(process.env['QDRANT_URL'] !== undefined)('a server that talks nonsense gives a coded error', async () => {
  const location = fresh();
  await using store = await qdrant.open(location, { space, write: true });
  for (const answer of [{ status: 200, text: 'hello' }, { status: 200, text: 'null' }, { status: 500, text: '' }, { status: 401, text: '{}' }]) {
    answerWith = answer;
    await expect(store.search(Float32Array.from([1, 0, 0]), { top: 1 })).rejects.toMatchObject({ code: 'QRT_STORE' });
  }
  answerWith = { status: 200, text: '{"result":{"points":[null,{"score":"x"},{"payload":{"id":3}}]}}' };
  expect(await store.search(Float32Array.from([1, 0, 0]), { top: 1 })).toEqual([]);
  answerWith = undefined;
});
