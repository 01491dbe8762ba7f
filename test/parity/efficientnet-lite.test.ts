/**
 * EfficientNet-Lite0 against a float64 forward pass in numpy (`test/goldens/efficientnet-lite/generate.py`, weights drawn
 * by name on both sides), and against the published weights where those are at hand.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TensorData } from '@querent/core';
import { elementCount, float32 } from '@querent/core';
import { efficientNetLitePlugin as plugin } from '@querent/encoders';
import { createGraph } from '@querent/graph';
import { loadTensors, readSafetensors } from '@querent/hub';
import { describe, expect, it } from 'vitest';
import { expectClose, pick, runOnce } from './fixture.ts';

/** Uniform in -1 … 1: FNV-1a of the name seeds a murmur3 finaliser over the element's index. */
function noise(name: string, shape: readonly number[]): Float32Array {
  let seed = 2166136261;
  for (const byte of new TextEncoder().encode(name)) seed = Math.imul(seed ^ byte, 16777619);
  return Float32Array.from({ length: elementCount(shape) }, (_, i) => {
    let x = Math.imul(i, 2654435761) + seed;
    x ^= x >>> 16;
    x = Math.imul(x, 0x85ebca6b);
    x ^= x >>> 13;
    x = Math.imul(x, 0xc2b2ae35);
    x ^= x >>> 16;
    return (x >>> 0) / 2 ** 31 - 1;
  });
}

/** Weights that keep the signal's size: He-uniform convolutions, norms near the identity. */
function draw(name: string, shape: readonly number[]): TensorData {
  const values = noise(name, shape);
  if (shape.length === 4) {
    const bound = Math.sqrt(6 / elementCount(shape.slice(1)));
    return float32(shape, values.map((value) => value * bound));
  }
  if (name.endsWith('.bias')) return float32(shape, values.map((value) => 0.5 * value));
  if (name.endsWith('.running_mean')) return float32(shape, values.map((value) => 0.25 * value));
  return float32(shape, values.map((value) => 1 + (name.endsWith('.running_var') ? 0.5 : 0.25) * value));
}

describe('EfficientNet-Lite0', () => {
  const golden = fileURLToPath(new URL('../goldens/efficientnet-lite/expected.safetensors', import.meta.url));

  it.each([64, 75])('equals the float64 forward pass at %i pixels, before and after the last convolution', async (size) => {
    const expected = await loadTensors((await readSafetensors(golden)).tensors);
    for (const features of ['block15', 'head'] as const) {
      const config = { ...plugin.defaults, image_size: size, features };
      const g = createGraph('efficientnet');
      const { lastHiddenState, pooled } = plugin.build(g, g.input('pixel_values', 'float32', ['batch', 3, size, size]), config, { pooled: true });
      expect(lastHiddenState.shape).toEqual(['batch', plugin.patches(config), plugin.width(config)]);
      expect(pooled!.shape).toEqual(['batch', plugin.width(config)]);
      g.output('features', lastHiddenState);
      const weights = new Map([...g.graph.parameters.values()].map(({ name, shape }) => [name, draw(name, shape)]));
      const outputs = await runOnce(g.graph, weights, { pixel_values: float32([1, 3, size, size], noise(`image.${size}`, [3, size, size])) });
      expectClose(pick(outputs, 'features'), pick(expected, `${features}.${size}`), 1e-4);
    }
  });

  it('puts every parameter in a layer', () => {
    const g = createGraph('efficientnet');
    plugin.build(g, g.input('pixel_values', 'float32', ['batch', 3, 224, 224]), plugin.defaults);
    const layers = [...g.graph.parameters.keys()].map((name) => plugin.layerOf(name, plugin.defaults));
    expect(new Set(layers)).toEqual(new Set(Array.from({ length: plugin.layers(plugin.defaults) }, (_, i) => i)));
  });

  it('refuses pixels whose size is not known', () => {
    const g = createGraph('efficientnet');
    expect(() => plugin.build(g, g.input('pixel_values', 'float32', ['batch', 3, 'height', 'width']), plugin.defaults)).toThrow(/height and width as numbers/);
  });

  // The published weights' golden file holds photographs that may not be redistributed, so it is not in this repository.
  const shared = process.env['QUERENT_SHARED'];
  const folder = shared === undefined ? undefined : join(shared, 'models', 'efficientnet-lite0');
  const missing = folder === undefined ? 'QUERENT_SHARED is not set' : existsSync(join(folder, 'golden.safetensors')) ? undefined : `no golden.safetensors in ${folder}`;
  it.skipIf(missing !== undefined)(`equals PyTorch on the published weights${missing === undefined ? '' : ` (skipped: ${missing})`}`, async () => {
    const weights = (await readSafetensors(join(folder!, 'model.safetensors'))).tensors;
    const expected = await loadTensors((await readSafetensors(join(folder!, 'golden.safetensors'))).tensors);
    for (const features of ['block15', 'head'] as const) {
      const config = { ...plugin.defaults, features };
      const { image_mean: mean, image_std: std, rescale_factor: factor } = plugin.preprocess(config);
      const g = createGraph('efficientnet');
      const { lastHiddenState, pooled } = plugin.build(g, g.input('pixel_values', 'float32', ['batch', 3, 224, 224]), config, { pooled: true });
      g.output('features', lastHiddenState);
      g.output('pooled', pooled!);
      for (const image of [0, 1, 2]) {
        const pixels = pick(expected, `${image}.pixels`); // [height, width, channels]
        const planar = new Float32Array(pixels.data.length);
        for (let i = 0; i < 224 * 224; i++) for (let c = 0; c < 3; c++) planar[c * 224 * 224 + i] = (Number(pixels.data[i * 3 + c]) * factor - mean[c]!) / std[c]!;
        const outputs = await runOnce(g.graph, weights, { pixel_values: float32([1, 3, 224, 224], planar) });
        const map = pick(expected, `${image}.${features}`); // [channels, 7, 7]
        const channels = map.shape[0]!;
        const flat = float32([1, 49, channels], Float32Array.from({ length: 49 * channels }, (_, i) => Number(map.data[(i % channels) * 49 + Math.floor(i / channels)])));
        expectClose(pick(outputs, 'features'), flat, 1e-4);
        if (features === 'head') expectClose(pick(outputs, 'pooled'), { ...pick(expected, `${image}.pooled`), shape: [1, channels] }, 1e-4);
      }
    }
  });
});
