/** TensorFlow.js as this package uses it: the core's namespace, whichever package brought it. */

/** `@tensorflow/tfjs-core`'s exports; `@tensorflow/tfjs-node` has all of them too. */
export type Tf = typeof import('@tensorflow/tfjs-core');

/** The dtypes that tensors of this engine have on a device. */
export type TfDType = 'float32' | 'int32' | 'bool';
