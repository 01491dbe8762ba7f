/**
 * What a training objective promises: a loss, as nodes of a graph, over what the bridge and the language model offer.
 * Types only. ITC, ITM, ITG and the language-model losses are in `packages/training`; gradients are taken of `loss`.
 */
import type { Bridge, BridgeEncoding, BridgeText } from './bridge.ts';
import type { Dim, Scope, Tensor } from './graph.ts';
import type { LanguageModelLoss } from './language-model.ts';
import type { PluginBase } from './plugin.ts';

/** One training batch in the graph. */
export interface ObjectiveInputs {
  /** float32 [batch, patches, width]: the encoder's features. */
  readonly features: Tensor;
  readonly bridge: Bridge;
  /** What the bridge made of the features alone: computed once, shared by all objectives of a step. */
  readonly image: BridgeEncoding;
  /** A caption a row, in the bridge's own vocabulary; `inputIds` begin with [CLS]. Absent in stage 2. */
  readonly text?: BridgeText;
  /** int64 [batch]: rows with equal ids are captions of one image. */
  readonly imageIds?: Tensor;
  /** Queries through the projection into the frozen language model, against this batch's captions. Absent in stage 1. */
  languageModelLoss?(queries: Tensor, options?: { readonly labelSmoothing?: number }): LanguageModelLoss;
  /** Random numbers that the host feeds anew at each step: float32 of this shape, under this name. */
  noise(name: string, shape: readonly Dim[], distribution: 'uniform' | 'gumbel' | 'normal'): Tensor;
}

export interface ObjectiveOutput {
  /** A float32 scalar. */
  readonly loss: Tensor;
  /** Scalars to show beside the loss, by name. */
  readonly metrics?: Readonly<Record<string, Tensor>>;
}

/** A training loss. */
export interface ObjectivePlugin<Config = unknown> extends PluginBase<'objective'> {
  /**
   * Adds the loss to the graph.
   *
   * @throws QuerentError QRT_MODEL_UNSUPPORTED when the bridge or the batch lacks what the loss is made of.
   */
  build(g: Scope, inputs: ObjectiveInputs, config: Config): ObjectiveOutput;
}
