/** What a metric promises: predictions against references → figures. Types only; `packages/evaluation` has the built-ins. */
import type { PluginBase } from './plugin.ts';

/** One prediction with what it is compared with, for instance a caption with five human ones. */
export interface Judged<Prediction = string, Reference = readonly string[]> {
  readonly id: string;
  readonly prediction: Prediction;
  readonly reference: Reference;
}

export interface MetricResult {
  /** Name → figure over all, for instance `Bleu_4`, `CIDEr`. */
  readonly figures: Readonly<Record<string, number>>;
  /** Name → one figure a prediction, in order, where the metric has such. */
  readonly each?: Readonly<Record<string, Float64Array>>;
}

/** A figure of merit. */
export interface MetricPlugin<Prediction = string, Reference = readonly string[], Config = unknown> extends PluginBase<'metric'> {
  /** Whether more is better. Default true. */
  readonly higherIsBetter?: boolean;
  /** @throws QuerentError QRT_USAGE when there is nothing to judge. */
  evaluate(
    judged: readonly Judged<Prediction, Reference>[],
    config: Config,
    options?: { readonly signal?: AbortSignal },
  ): MetricResult | Promise<MetricResult>;
}
