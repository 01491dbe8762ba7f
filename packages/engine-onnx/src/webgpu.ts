/**
 * What onnxruntime's WebGPU provider (Dawn) does wrongly or not at all, by the names of nodes: they are computed on the processor,
 * as the provider is told when a session is made. Found with the operator cases on a software Vulkan, onnxruntime 1.30.
 */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { DType, Graph, Node } from '@querent/core';
import { cast, createGraph, writeOnnx } from '@querent/graph';

/** Names of nodes that stay on the processor. */
export interface ProcessorNodes {
  /** On every device. */
  readonly always: readonly string[];
  /** On devices that have no 16-bit floats (WebGPU's `shader-f16` is optional): all nodes that read or give one. */
  readonly halves: readonly string[];
}

const isHalf = (dtype: DType | undefined): boolean => dtype === 'float16' || dtype === 'bfloat16';

/** Which nodes of a graph these are. */
export function processorNodes(graph: Graph): ProcessorNodes {
  const namesOf = (test: (node: Node) => boolean): readonly string[] => graph.nodes.filter(test).map(({ name }) => name);
  return {
    always: namesOf(isDoneWrongly),
    halves: namesOf(({ inputs, outputs }) => [...inputs, ...outputs].some((tensor) => isHalf(tensor?.dtype))),
  };
}

/** Resize ignores `antialias` by failing in the middle of a run; an RMS norm's second output, 1 / √(mean(x²) + ε), is wrong. */
function isDoneWrongly({ opType, attributes, outputs }: Node): boolean {
  if (opType === 'Resize') return attributes['antialias']?.type === 'int' && attributes['antialias'].value === 1;
  return (opType === 'SimplifiedLayerNormalization' || opType === 'RMSNormalization') && outputs.length > 1;
}

let halves: Promise<boolean> | undefined;

/** Has the device 16-bit floats? onnxruntime does not say: a session that widens one shows it, once for the process. */
export function deviceHasHalves(): Promise<boolean> {
  halves ??= widensHalves();
  return halves;
}

async function widensHalves(): Promise<boolean> {
  const g = createGraph('halves');
  g.output('y', cast(g.input('x', 'float16', [1]), 'float32'));
  const session = await InferenceSession.create(writeOnnx(g.graph), { executionProviders: ['webgpu', 'cpu'], logSeverityLevel: 4 });
  try {
    await session.run({ x: new Tensor('float16', Uint16Array.of(0x3c00), [1]) });
    return true;
  } catch {
    return false; // the shader needs what the device lacks
  } finally {
    await session.release();
  }
}
