/** Which of TensorFlow.js’s kernels each operator uses. */
export const TFJS_KERNELS: Readonly<Record<string, readonly string[]>> = {};
