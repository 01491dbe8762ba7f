// Building
export { GraphBuilder, builderOf, createGraph } from './graph.ts';
export type { OutputSpec } from './graph.ts';
export { ONNX_DTYPE, ONNX_DTYPE_OF, hasShapeRule, inferOutputs } from './shape.ts';
export { addDims, broadcastShapes, countElements, dimTerms, divideDims, multiplyDims, printShape, subtractDims } from './dims.ts';

// Operators, by ONNX's names in camelCase
export { constant, constantNumbers, dimOf, float, int, intVector, ints, op, op1, scalar, shapeVector, text } from './ops/op.ts';
export type { OpOptions, Operand } from './ops/op.ts';
export {
  abs, add, and, cast, clip, cos, div, equal, erf, exp, gelu, greater, greaterOrEqual, identity, less, lessOrEqual, log, max, min, mul, neg,
  not, or, pow, reciprocal, relu, sigmoid, sign, sin, sqrt, sub, tanh, where,
} from './ops/elementwise.ts';
export { dynamicQuantizeMatMul, fusedMatMul, gemm, matMul } from './ops/linear-algebra.ts';
export type { FusedMatMulOptions, GemmOptions } from './ops/linear-algebra.ts';
export { argMax, cumSum, reduceMax, reduceMean, reduceSum, topK } from './ops/reductions.ts';
export {
  concat, expand, filled, gather, gatherElements, oneHot, pad, range, reshape, scatterElements, shapeOf, slice, split, squeeze, tensorScatter, tile,
  transpose, trilu, unsqueeze,
} from './ops/shaping.ts';
export { averagePool, conv, globalAveragePool, layerNormalization, logSoftmax, maxPool, rmsNormalization, softmax, softmaxCrossEntropyLoss } from './ops/neural.ts';
export type { ConvOptions, CrossEntropyOptions, PoolOptions } from './ops/neural.ts';

// Layers
export { DEFAULT_STD, conv2d, crossEntropy, embedding, layerNorm, linear, linearWith, mergeHeads, rmsNorm, scaledDotProductAttention, splitHeads } from './layers.ts';
export type { AttentionOptions, AttentionOutput, Conv2dOptions, CrossEntropy, CrossEntropyLayerOptions, LinearOptions } from './layers.ts';

// Gradients
export { GRADIENT_RULES, grad } from './autodiff/grad.ts';
export { checkpoint, runCheckpointed } from './autodiff/checkpointing.ts';
export type { CheckpointExecutables, CheckpointOptions, CheckpointSegment } from './autodiff/checkpointing.ts';

// ONNX files, and graphs as text
export { writeOnnx } from './onnx/write.ts';
export type { WriteOnnxOptions } from './onnx/write.ts';
export { readOnnx } from './onnx/read.ts';
export type { ReadOnnxOptions, ReadOnnxResult } from './onnx/read.ts';
export { GraphCopy } from './copy.ts';
export { printGraph, printNode } from './print.ts';
export type { PrintOptions } from './print.ts';

// For engines: what goes in and out, and the check of it
export { checkFeeds, checkInto, chooseOutputs, evaluateDim } from './ports.ts';
export type { DimSizes, PortRules } from './ports.ts';

// Every operator in plain float64 loops: for finite differences, and as a third opinion
export { REFERENCE_KERNELS, interpret } from './testing/reference.ts';
export type { InterpretOptions, ReferenceTensor } from './testing/reference.ts';
