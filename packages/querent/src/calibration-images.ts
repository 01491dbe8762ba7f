/**
 * Pictures that an encoder's precision is chosen on where the user names none: six photographs that anyone may copy
 * (`packages/querent/calibration`, see its README) and two drawn ones, whose edges and noise no photograph has.
 */
import { readFile } from 'node:fs/promises';
import type { ImageSource, RawPixels } from '@querent/core';

const NAMES = ['astronaut', 'cat', 'coffee', 'photographer', 'raccoon', 'rocket'] as const;
const SIDE = 128;

/** Always the same eight. */
export async function builtInImages(): Promise<readonly ImageSource[]> {
  const folder = new URL('../calibration/', import.meta.url); // beside src and dist alike
  const photos = await Promise.all(NAMES.map(async (name): Promise<ImageSource> => new Uint8Array(await readFile(new URL(`${name}.jpg`, folder)))));
  return [...photos, noise(), squares()];
}

function noise(): RawPixels {
  let state = 1;
  return drawn(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes
    return state >>> 24;
  });
}

/** Black and white squares on a ramp of colours. */
function squares(): RawPixels {
  return drawn((x, y, channel) => (((x >> 4) + (y >> 4)) % 3 === 0 ? 255 * (((x >> 4) & 1) ^ 1) : (x * (channel + 1) + y * (3 - channel)) >> 1) & 255);
}

function drawn(value: (x: number, y: number, channel: number) => number): RawPixels {
  const data = new Uint8Array(3 * SIDE * SIDE);
  for (let i = 0; i < data.length; i++) data[i] = value(Math.floor(i / 3) % SIDE, Math.floor(i / 3 / SIDE), i % 3);
  return { data, width: SIDE, height: SIDE, channels: 3 };
}
