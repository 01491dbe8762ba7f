/** Images with captions as a recipe names them: a Karpathy-style file (`annotations.ts`), or a dataset of a plugin. */
import { join } from 'node:path';
import type { DatasetPlugin } from '@querent/core';
import { QuerentError, validate } from '@querent/core';
import type { AnnotatedImage } from './annotations.ts';
import { isInside, readAnnotations } from './annotations.ts';

/** A recipe's `annotations`: exactly one of `file` and `dataset` is there, as its schema says. */
export interface AnnotationSource {
  /** Relative to the data folder. */
  readonly file?: string;
  /** The name of a dataset plugin, with its own options. */
  readonly dataset?: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly splits: readonly string[];
}

export interface AnnotatedImagesOptions {
  readonly dataFolder: string;
  readonly dataset?: ((name: string) => DatasetPlugin) | undefined;
  readonly signal?: AbortSignal;
}

/**
 * The images of the named splits, in order.
 *
 * @throws QuerentError QRT_DATASET when they cannot be read or there are none, QRT_PLUGIN_UNKNOWN, QRT_CONFIG_INVALID.
 */
export async function annotatedImages(source: AnnotationSource, { dataFolder, dataset, signal }: AnnotatedImagesOptions): Promise<AnnotatedImage[]> {
  const { file, dataset: name, config = {}, splits } = source;
  if (name === undefined) return readAnnotations(join(dataFolder, file ?? ''), splits);
  if (dataset === undefined) throw new QuerentError('QRT_USAGE', `The recipe names the dataset ${JSON.stringify(name)}, and no datasets were handed over.`, { fix: 'Pass plugins.dataset; `querent train` does.' });
  const plugin = dataset(name);
  if (plugin.configSchema !== undefined) validate(plugin.configSchema, config, { what: `the config of dataset ${name}`, at: '/annotations/config' });
  const images = new Map<string, AnnotatedImage>();
  for (const split of splits) {
    for await (const sample of plugin.open(config, { root: dataFolder, split, ...(signal === undefined ? {} : { signal }) })) {
      signal?.throwIfAborted();
      const { id, image, captions } = sample;
      if (typeof image !== 'string' || !isInside(image)) {
        throw new QuerentError('QRT_DATASET', `Sample ${JSON.stringify(id)} of the dataset ${name} has no image inside the image folder.`, { fix: 'A recipe reads images as file names relative to its /images.', details: { id } });
      }
      const known = images.get(image);
      images.set(image, { filename: image, split, captions: [...(known?.captions ?? []), ...captions] });
    }
  }
  if (images.size === 0) throw new QuerentError('QRT_DATASET', `The dataset ${name} has no image of split ${splits.join(', ')}.`, { fix: 'Check /annotations/splits and /annotations/config.' });
  return [...images.values()];
}
