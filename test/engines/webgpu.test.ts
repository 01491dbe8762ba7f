/** WebGPU, where there is a driver: on the machines of continuous integration a software Vulkan (SwiftShader) would do. */
import { createRegistry, float32, isQuerentError } from '@querent/core';
import type { Engine } from '@querent/core';
import { createGraph, matMul, tanh } from '@querent/graph';
import { onnxruntime } from '@querent/engine-onnx';
import { tfjs } from '@querent/engine-tfjs';
import { expect, test } from 'vitest';

const registry = createRegistry([onnxruntime, tfjs]);

/** The engine on WebGPU, or why there is none. A session shows it: the provider is compiled in everywhere. */
async function open(plugin: string): Promise<string | undefined> {
  const status = (await registry.get('engine', plugin).probe?.())?.find(({ backend }) => backend === 'webgpu');
  return status?.available === true ? undefined : (status?.note ?? 'not known').split('\n')[0]!.slice(0, 160);
}

const reasons = { onnxruntime: await open('onnxruntime'), tfjs: await open('tfjs') };

test.each(['onnxruntime', 'tfjs'] as const)('%s', async (plugin) => {
  const start = (): Promise<Engine> => registry.get('engine', plugin).create({ backend: 'webgpu', inPlace: true });
  const reason = reasons[plugin];
  const g = createGraph('webgpu');
  const x = g.input('x', 'float32', [2, 2]);
  g.output('y', tanh(matMul(x, x)));
  if (reason !== undefined) {
    process.stderr.write(`WEBGPU IS NOT TESTED ON ${plugin}: ${reason}\n`);
    const refused = await start().then((engine) => engine.compile(g.graph, new Map())).catch((error: unknown) => error);
    expect(isQuerentError(refused) && refused.code).toBe('QRT_ENGINE_PROVIDER');
    return;
  }
  await using engine = await start();
  await using executable = await engine.compile(g.graph, new Map());
  const { y } = await executable.run({ x: float32([2, 2], [0.5, 0.25, -0.5, 1]) });
  [0.125, 0.375, -0.75, 0.875].forEach((value, i) => expect(Number(y!.data[i])).toBeCloseTo(Math.tanh(value), 4));
});
