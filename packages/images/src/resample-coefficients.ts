/**
 * The filters of `resample.ts` as tables: which source pixels make up an output pixel, and with what fixed-point weight.
 * Pillow's arithmetic (`precompute_coeffs` in its Resample.c), including the float32 box.
 */

/** Filters by Pillow's names. */
export type Filter = 'nearest' | 'box' | 'bilinear' | 'hamming' | 'bicubic' | 'lanczos';

/** For each output position: where its taps start, how many there are, and their fixed-point weights. */
export interface Coefficients {
  /** Taps per output position in `weights`; positions at the rim use fewer. */
  readonly taps: number;
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  /** int32 `[size, taps]`, in units of 2^-22. */
  readonly weights: Int32Array;
}

/** Fraction bits of a weight: 32 less 8 for the pixel less 2 for overshoot (Pillow, `Resample.c`). */
export const PRECISION_BITS: number = 32 - 8 - 2;

interface Kernel {
  readonly support: number;
  readonly weigh: (x: number) => number;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

const KERNELS: Readonly<Record<Exclude<Filter, 'nearest'>, Kernel>> = {
  box: { support: 0.5, weigh: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weigh: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weigh: (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI))),
  },
  // Keys' cubic with a = -0.5.
  bicubic: {
    support: 2,
    weigh: (signed) => {
      const a = -0.5;
      const x = Math.abs(signed);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
  lanczos: { support: 3, weigh: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Weights that take `[from, to)` of an axis of `sourceSize` pixels to `size` pixels. */
export function coefficients(sourceSize: number, from: number, to: number, size: number, filter: Exclude<Filter, 'nearest'>): Coefficients {
  const { support: radius, weigh } = KERNELS[filter];
  const scale = Math.fround(to - from) / size; // Pillow holds the box in float32
  const filterScale = Math.max(scale, 1);
  const support = radius * filterScale;
  const taps = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(size);
  const counts = new Int32Array(size);
  const weights = new Int32Array(size * taps);
  const row = new Float64Array(taps);
  const inverse = 1 / filterScale;
  for (let i = 0; i < size; i++) {
    const centre = from + (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(sourceSize, Math.trunc(centre + support + 0.5)) - start;
    let sum = 0;
    for (let t = 0; t < count; t++) {
      const weight = weigh((t + start - centre + 0.5) * inverse);
      row[t] = weight;
      sum += weight;
    }
    for (let t = 0; t < count; t++) {
      const weight = (sum === 0 ? row[t]! : row[t]! / sum) * (1 << PRECISION_BITS);
      weights[i * taps + t] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    starts[i] = start;
    counts[i] = count;
  }
  return { taps, starts, counts, weights };
}
