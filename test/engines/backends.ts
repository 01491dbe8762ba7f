/** The backends of TensorFlow.js that tests run on: plain JavaScript and WASM always, the native addon where it is built. */
import { createTfjsEngine } from '@querent/engine-tfjs';
import type { TfjsEngine } from '@querent/engine-tfjs';
import { isQuerentError } from '@querent/core';

async function open(backend: string): Promise<TfjsEngine | undefined> {
  try {
    return await createTfjsEngine({ backend });
  } catch (error) {
    if (isQuerentError(error)) return undefined;
    throw error;
  }
}

/** Engines by name; those that do not work here are not among them. */
export async function tfjsEngines(): Promise<readonly TfjsEngine[]> {
  const opened = await Promise.all(['cpu', 'wasm', 'node'].map(open));
  return opened.filter((engine) => engine !== undefined);
}
