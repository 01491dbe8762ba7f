/** What a dataset promises: samples, one after the other, as an async iterable. Types only; `packages/training` has the built-ins. */
import type { ImageSource } from './image.ts';
import type { PluginBase } from './plugin.ts';

/** One image with what people said about it. */
export interface Sample {
  /** Unique within the dataset: a file name, an image id. */
  readonly id: string;
  readonly image: ImageSource;
  readonly captions: readonly string[];
  /** `train`, `val`, `test`, … where the dataset has splits. */
  readonly split?: string;
  /** Visual question answering: what was asked, and each person's answer. */
  readonly question?: string;
  readonly answers?: readonly string[];
}

export interface DatasetOptions {
  /** The folder that relative paths of the config start from. */
  readonly root: string;
  /** Only this split; all when absent. */
  readonly split?: string;
  readonly signal?: AbortSignal;
}

/** A way to read samples. */
export interface DatasetPlugin<Config = unknown> extends PluginBase<'dataset'> {
  /**
   * Opens it. Each iteration reads from the start, in the same order; leaving the loop closes what is open.
   *
   * @throws QuerentError QRT_DATASET when it cannot be read; a bad row names its file and line.
   */
  open(config: Config, options: DatasetOptions): AsyncIterable<Sample>;
}
