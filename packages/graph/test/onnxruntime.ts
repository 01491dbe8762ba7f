/** For tests only: runs ONNX bytes on onnxruntime-node (a dependency of engine-onnx, which stands above this package). */
import { createRequire } from 'node:module';
import type { DType, TensorData } from '@querent/core';
import { viewAs } from '@querent/core';

interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: ArrayBufferView;
}

interface Onnxruntime {
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    create(model: Uint8Array | string, options: object): Promise<{
      run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
      release(): Promise<void>;
    }>;
  };
}

const require = createRequire(new URL('../../engine-onnx/package.json', import.meta.url));
export const onnxruntime = require('onnxruntime-node') as Onnxruntime; // CommonJS: require() is untyped

/** Runs a model (bytes or a path) once, unoptimised and single-threaded. */
export async function runOnnx(model: Uint8Array | string, feeds: Record<string, TensorData>): Promise<Record<string, TensorData>> {
  const session = await onnxruntime.InferenceSession.create(model, {
    graphOptimizationLevel: 'disabled',
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  try {
    const inputs = Object.entries(feeds).map(([name, { dtype, data, shape }]) => [name, new onnxruntime.Tensor(dtype, data, shape)] as const);
    const outputs = await session.run(Object.fromEntries(inputs));
    return Object.fromEntries(
      Object.entries(outputs).map(([name, { type, dims, data }]) => {
        const dtype = type as DType; // onnxruntime's names of element types are ONNX's
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        return [name, { dtype, shape: dims, data: viewAs(dtype, bytes) } as TensorData];
      }),
    );
  } finally {
    await session.release();
  }
}
