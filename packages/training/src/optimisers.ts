/** What an optimiser knows of its parameters, and what is done to gradients before it (`adamw.ts` is the optimiser). */

/** First and second moment of one parameter, same length as it. */
export interface Moments {
  readonly first: Float32Array;
  readonly second: Float32Array;
}

/** What the optimiser knows of one trained tensor. */
export interface TrainedParameter {
  readonly name: string;
  readonly values: Float32Array;
  readonly moments: Moments;
  /** Biases and norms (tensors of one axis) do not decay. */
  readonly decays: boolean;
  /** Multiplies the learning rate: layer-wise decay. */
  readonly learningRateScale: number;
}

/** BLIP-2's grouping: tensors of one axis and names that end in `.bias` do not decay, all else does. */
export function doesDecay(name: string, shape: readonly number[]): boolean {
  return shape.length !== 1 && !name.endsWith('.bias');
}

export interface TrainedParameterOptions {
  /** Default 1. */
  readonly learningRateScale?: number;
  /** Zeros for the moments: an optimiser may want them in a place of its own. */
  readonly allocate?: (length: number) => Float32Array;
}

/** A trained parameter with fresh moments. */
export function trainedParameter(name: string, shape: readonly number[], values: Float32Array, options: TrainedParameterOptions = {}): TrainedParameter {
  const { learningRateScale = 1, allocate = (length) => new Float32Array(length) } = options;
  const moments = { first: allocate(values.length), second: allocate(values.length) };
  return { name, values, moments, decays: doesDecay(name, shape), learningRateScale };
}

/** The 2-norm over all gradients together. */
export function globalNorm(gradients: Iterable<Float32Array>): number {
  let sum = 0;
  for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) sum += gradient[i]! * gradient[i]!;
  return Math.sqrt(sum);
}

/**
 * Scales all gradients in place so that their global norm is at most `maxNorm` (torch's clip_grad_norm_:
 * factor `maxNorm / (norm + 1e-6)`, never above 1). Returns the norm before.
 */
export function clipGlobalNorm(gradients: readonly Float32Array[], maxNorm: number): number {
  const norm = globalNorm(gradients);
  const factor = maxNorm / (norm + 1e-6);
  if (factor < 1) for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) gradient[i] = gradient[i]! * factor;
  return norm;
}

/** `sum += gradient · weight`, in place: gradient accumulation over micro-batches. */
export function accumulate(sum: Float32Array, gradient: Float32Array, weight: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + gradient[i]! * weight;
}
