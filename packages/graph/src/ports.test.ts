/** The check of feeds and preallocated outputs that all engines share. */
import { float32, int64, isQuerentError, zeros } from '@querent/core';
import type { PortInfo, TensorData } from '@querent/core';
import { expect, test } from 'vitest';
import { checkFeeds, checkInto, chooseOutputs, evaluateDim } from './ports.ts';

const PORTS: readonly PortInfo[] = [
  { name: 'x', dtype: 'float32', shape: ['batch', 3] },
  { name: 'ids', dtype: 'int64', shape: ['batch', 'tokens'] },
  { name: 'mask', dtype: 'float32', shape: ['batch', 'past + tokens'] },
  { name: 'cache', dtype: 'float32', shape: ['batch', 'past'] },
];
const feeds = (): Record<string, TensorData> => ({ x: zeros('float32', [2, 3]), ids: zeros('int64', [2, 4]), mask: zeros('float32', [2, 5]), cache: zeros('float32', [2, 1]) });

/** The problems that a check lists. */
function problemsOf(check: () => unknown): unknown {
  try {
    check();
    return [];
  } catch (error) {
    return isQuerentError(error) && error.code === 'QRT_ENGINE_FEED' ? error.details : error;
  }
}

test('feeds that fit say how large the named dims are', () => {
  expect(checkFeeds('g', PORTS, feeds())).toEqual(new Map([['batch', 2], ['tokens', 4], ['past', 1]]));
});

test.each([
  ['a feed is missing', { x: undefined }, 'x (float32 [batch, 3]) is missing'],
  ['a feed has another dtype', { x: zeros('int64', [2, 3]) }, 'x is int64 [2, 3]; expected float32 [batch, 3]'],
  ['a feed has another rank', { x: zeros('float32', [6]) }, 'x is [6]; expected float32 [batch, 3]'],
  ['a size is another', { x: zeros('float32', [2, 4]) }, 'x is [2, 4]; expected float32 [batch, 3], axis 1 is 4'],
  ['two feeds disagree', { ids: zeros('int64', [3, 4]) }, 'ids is [3, 4]; expected int64 [batch, tokens], axis 0 is 3 (x says batch = 2)'],
  ['a sum of dims does not come out', { mask: zeros('float32', [2, 9]) }, 'mask is [2, 9]; expected float32 [batch, past + tokens], where past + tokens = 5'],
  ['the array is of another class', { x: { dtype: 'float32', shape: [2, 3], data: new Float64Array(6) } }, 'x holds a Float64Array where float32 lies in a Float32Array; expected float32 [batch, 3]'],
  ['the array is of another length', { x: { dtype: 'float32', shape: [2, 3], data: new Float32Array(5) } }, 'x is [2, 3] but holds 5 elements; expected float32 [batch, 3]'],
  ['a name is not known', { y: float32([1], [0]) }, 'y is not an input'],
])('%s: the error names it', (_, change, problem) => {
  const given = Object.fromEntries(Object.entries({ ...feeds(), ...change }).filter(([, feed]) => feed !== undefined)) as Record<string, TensorData>; // wrong on purpose
  expect(problemsOf(() => checkFeeds('g', PORTS, given))).toEqual([problem]);
});

test('a feed that the graph does not need is ignored where it may be, and shared memory is refused where it must be', () => {
  expect(problemsOf(() => checkFeeds('g', PORTS, { ...feeds(), spare: float32([1], [0]) }, { unused: new Set(['spare']) }))).toEqual([]);
  const shared: TensorData = { dtype: 'float32', shape: [2, 3], data: new Float32Array(new SharedArrayBuffer(24)) };
  expect(problemsOf(() => checkFeeds('g', PORTS, { ...feeds(), x: shared }))).toEqual([]);
  expect(problemsOf(() => checkFeeds('g', PORTS, { ...feeds(), x: shared }, { refusesSharedMemory: 'this engine' }))).toEqual(['x lies in a SharedArrayBuffer, which this engine refuses; expected float32 [batch, 3]']);
});

test('preallocated outputs have the shape that follows from the feeds, as far as it does', () => {
  const outputs: readonly PortInfo[] = [{ name: 'y', dtype: 'int64', shape: ['batch', 'found'] }];
  const sizes = new Map([['batch', 2]]);
  expect(problemsOf(() => checkInto('g', outputs, { y: int64([2, 7], new Array(14).fill(0)) }, sizes))).toEqual([]);
  expect(problemsOf(() => checkInto('g', outputs, { y: zeros('int64', [3, 7]) }, sizes))).toEqual(['into.y is [3, 7]; expected int64 [2, found]']);
  expect(problemsOf(() => checkInto('g', outputs, { z: zeros('int64', [2, 7]) }, sizes))).toEqual(['into.z is not an output']);
});

test('outputs that are asked for must exist; those with memory are computed too', () => {
  const outputs: readonly PortInfo[] = ['a', 'b', 'c'].map((name) => ({ name, dtype: 'float32', shape: [] }));
  expect(chooseOutputs('g', outputs, ['c'], { a: zeros('float32', []) }).map(({ name }) => name)).toEqual(['a', 'c']);
  expect(problemsOf(() => chooseOutputs('g', outputs, ['d']))).toEqual(['there is no output d']);
});

test('a dim is a number where its names are known', () => {
  expect([evaluateDim(3, new Map()), evaluateDim('2 * past', new Map([['past', 4]])), evaluateDim('past', new Map())]).toEqual([3, 8, undefined]);
});
