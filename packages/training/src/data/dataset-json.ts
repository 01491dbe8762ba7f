/** Documents of datasets, as they lie on disk. */
import { readFile } from 'node:fs/promises';
import { QuerentError } from '@querent/core';

/** A JSON document of a dataset. @throws QuerentError QRT_DATASET */
export async function readDatasetJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new QuerentError('QRT_DATASET', `${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Is --data the folder that the recipe’s paths are relative to?', cause });
  }
}
