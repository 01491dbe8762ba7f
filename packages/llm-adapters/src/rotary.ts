/** Rotary position embedding (Su 2021; HF `LlamaRotaryEmbedding`): pairs are (i, i + width/2), as in HF's `rotate_half`. */
import type { Tensor } from '@querent/core';
import { QuerentError, float32 } from '@querent/core';
import { add, cast, concat, constant, cos, mul, sin, split, sub, unsqueeze } from '@querent/graph';

/** The `rope_parameters` (transformers 5) or `rope_scaling` (before) of a config. */
export interface RopeParameters {
  readonly rope_theta?: number;
  readonly rope_type?: string;
  /** An older spelling of `rope_type`. */
  readonly type?: string;
  readonly factor?: number;
  /** Share of a head that is rotated, in families that rotate a part. */
  readonly partial_rotary_factor?: number;
  readonly low_freq_factor?: number;
  readonly high_freq_factor?: number;
  readonly original_max_position_embeddings?: number;
}

/** Config keys about rotation, in both spellings. */
export interface RopeConfig {
  readonly rope_theta?: number;
  readonly rope_parameters?: RopeParameters | null;
  readonly rope_scaling?: RopeParameters | null;
}

/** Their JSON Schema. */
export const ropeProperties: Readonly<Record<string, unknown>> = {
  rope_theta: { type: 'number', exclusiveMinimum: 0, description: 'Base of the rotary frequencies.' },
  rope_parameters: { type: ['object', 'null'], description: 'transformers 5: rope_type, rope_theta and what the type needs.' },
  rope_scaling: { type: ['object', 'null'], description: 'The spelling before transformers 5.' },
};

/** cos and sin of every position's angles: [batch, 1, tokens, headWidth / 2]. */
export interface Rotation {
  readonly cosines: Tensor;
  readonly sines: Tensor;
}

/** Radians per position of each pair. */
export function inverseFrequencies(headWidth: number, config: RopeConfig): Float32Array {
  const rope: RopeParameters = { ...config.rope_scaling, ...config.rope_parameters };
  const theta = rope.rope_theta ?? config.rope_theta ?? 10000;
  const plain = Float32Array.from({ length: headWidth / 2 }, (_, i) => 1 / theta ** ((2 * i) / headWidth));
  const kind = rope.rope_type ?? rope.type ?? 'default';
  const factor = rope.factor ?? 1;
  if (kind === 'default') return plain;
  if (kind === 'linear') return plain.map((frequency) => frequency / factor);
  if (kind === 'llama3') {
    const [low, high, trained] = [rope.low_freq_factor ?? 1, rope.high_freq_factor ?? 4, rope.original_max_position_embeddings ?? 8192];
    return plain.map((frequency) => {
      const turns = (trained * frequency) / (2 * Math.PI);
      const smooth = Math.min(1, Math.max(0, (turns - low) / (high - low)));
      return (1 - smooth) * (frequency / factor) + smooth * frequency;
    });
  }
  throw new QuerentError('QRT_CONFIG_INVALID', `rope_type "${kind}" is not known; default, linear and llama3 are.`, { fix: 'Use a checkpoint with one of these.' });
}

/** The rotation of int64 positions [batch, tokens]. */
export function rotation(positions: Tensor, headWidth: number, config: RopeConfig): Rotation {
  const frequencies = constant(positions, float32([headWidth / 2], inverseFrequencies(headWidth, config)));
  const angles = mul(unsqueeze(cast(positions, 'float32'), [1, 3]), frequencies); // [batch, 1, tokens, headWidth / 2]
  return { cosines: cos(angles), sines: sin(angles) };
}

/** Rotates x [batch, heads, tokens, headWidth]; channels beyond the rotation's width stay as they are. */
export function rotate(x: Tensor, { cosines, sines }: Rotation): Tensor {
  const half = Number(cosines.shape[3]);
  const rest = Number(x.shape[3]) - 2 * half;
  const [a, b, ...still] = split(x, 3, rest === 0 ? [half, half] : [half, half, rest]) as [Tensor, Tensor, ...Tensor[]]; // split gives as many as it has sizes
  return concat([sub(mul(a, cosines), mul(b, sines)), add(mul(b, cosines), mul(a, sines)), ...still], 3);
}
