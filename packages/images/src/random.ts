/**
 * Seeded random numbers whose state can be written down, so that training goes on after a stop with the same draws:
 * xoshiro128** (Blackman and Vigna 2018), seeded by splitmix32.
 */
import { QuerentError } from '@querent/core';

/** Four 32-bit words, not all zero: plain JSON. */
export type RandomState = readonly [number, number, number, number];

/** A stream of random numbers. Two with the same seed or state give the same ones. */
export interface Random {
  /** In [0, 1), a multiple of 2^-32. */
  next(): number;
  /** An integer in [0, n); its bias is below n / 2^32. */
  int(n: number): number;
  /** From the normal distribution with mean 0 and deviation 1. */
  normal(): number;
  /** Shuffles `array` in place (Fisher-Yates) and returns it. */
  shuffle<T extends { [index: number]: unknown; readonly length: number }>(array: T): T;
  /** Where the stream stands: give it to {@link createRandom} to go on from here. */
  readonly state: RandomState;
}

/**
 * Random numbers from a seed (any finite number; its fraction counts not) or from an earlier `state`.
 * @throws QuerentError QRT_USAGE when the seed or state is unusable.
 * @example
 * const random = createRandom(1);
 * const order = random.shuffle([...samples.keys()]);
 * const again = createRandom(random.state);
 */
export function createRandom(seed: number | RandomState): Random {
  let [a, b, c, d] = typeof seed === 'number' ? expandSeed(seed) : checkedState(seed);

  const word = (): number => {
    const scrambled = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return scrambled;
  };
  const next = (): number => word() / 2 ** 32;
  const int = (n: number): number => {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new QuerentError('QRT_USAGE', `int(${n}): an integer from 1 to 2^32 was expected.`);
    }
    return Math.floor(next() * n);
  };
  return {
    next,
    int,
    // Box and Muller; the second number is dropped, so that the state is the four words alone.
    normal: () => {
      const radius = Math.sqrt(-2 * Math.log(1 - next()));
      return radius * Math.cos(2 * Math.PI * next());
    },
    shuffle: (array) => {
      // Any indexable list: elements only change places.
      const list = array as { [index: number]: unknown; readonly length: number };
      for (let i = list.length - 1; i > 0; i--) {
        const j = int(i + 1);
        const held = list[i];
        list[i] = list[j];
        list[j] = held;
      }
      return array;
    },
    get state() {
      return [a >>> 0, b >>> 0, c >>> 0, d >>> 0] as const;
    },
  };
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

function expandSeed(seed: number): RandomState {
  if (!Number.isFinite(seed)) throw new QuerentError('QRT_USAGE', `A seed is ${seed}; a finite number was expected.`);
  // Both halves of large seeds count.
  let state = (seed | 0) ^ Math.imul(Math.trunc(seed / 2 ** 32), 0x85ebca6b);
  const word = (): number => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  return [word(), word(), word(), word()];
}

function checkedState(state: RandomState): RandomState {
  const isUsable =
    Array.isArray(state) && state.length === 4 && state.some((word) => word !== 0) &&
    state.every((word) => Number.isInteger(word) && word >= -(2 ** 31) && word < 2 ** 32);
  if (!isUsable) {
    throw new QuerentError('QRT_USAGE', `A random state is ${JSON.stringify(state)}; four 32-bit integers, not all zero, were expected.`);
  }
  return state;
}
