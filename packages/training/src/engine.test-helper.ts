/** Runs a small graph once on the real engine, in place and on one thread. */
import type { GraphScope, ParameterSet, TensorData } from '@querent/core';
import { createOnnxEngine } from '@querent/engine-onnx';

export async function runGraph(g: GraphScope, feeds: Readonly<Record<string, TensorData>>, parameters: ParameterSet = new Map()): Promise<Record<string, TensorData>> {
  await using engine = createOnnxEngine({ threads: 1 });
  await using executable = await engine.compile(g.graph, parameters);
  return executable.run(feeds);
}

/** A scalar output as a number. */
export function scalarOf(outputs: Readonly<Record<string, TensorData>>, name: string): number {
  return Number(outputs[name]!.data[0]);
}
