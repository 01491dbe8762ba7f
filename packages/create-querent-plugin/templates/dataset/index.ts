/**
 * NAME: images with captions from a file of lines `FILE.jpg<TAB>a caption`. A recipe reads it by
 * `"annotations": { "dataset": "NAME", "config": { "file": "captions.tsv" }, "splits": ["train"] }`.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { QuerentError, defineDataset } from '@querent/core';
import type { DatasetPlugin } from '@querent/core';

export interface Config {
  /** Relative to the data folder. */
  readonly file: string;
}

const plugin: DatasetPlugin<Config> = defineDataset<Config>({
  name: 'NAME',
  description: 'Lines of a file name, a tab and a caption.',
  configSchema: {
    type: 'object',
    properties: { file: { type: 'string', minLength: 1, description: 'The file, relative to the data folder.' } },
    required: ['file'],
    additionalProperties: false,
  },
  async *open({ file }, { root, split, signal }) {
    const captions = new Map<string, string[]>();
    const lines = (await readFile(join(root, file), { encoding: 'utf8', signal })).split(/\r?\n/);
    for (const [i, line] of lines.entries()) {
      if (line === '') continue;
      const [image, caption, ...rest] = line.split('\t');
      if (image === undefined || caption === undefined || rest.length > 0) {
        throw new QuerentError('QRT_DATASET', `${file}:${i + 1} is not a file name, a tab and a caption.`, { fix: 'Separate the two by one tab.' });
      }
      captions.set(image, [...(captions.get(image) ?? []), caption]);
    }
    if (split !== undefined && split !== 'train') return; // this file has one split
    for (const [image, said] of captions) yield { id: image, image, captions: said, split: 'train' };
  },
});
export default plugin;
