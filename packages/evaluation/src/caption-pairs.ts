/** What every caption score asks of its input: a hypothesis an image, and at least one reference for each. */
import { QuerentError } from '@querent/core';

/** A mean over images. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * @param metric who asks, for the message.
 * @throws QuerentError QRT_USAGE when there are no images, the lists differ in length, or an image has no reference.
 */
export function assertPairs(metric: string, hypotheses: readonly unknown[], references: readonly (readonly unknown[])[]): void {
  if (hypotheses.length !== references.length || hypotheses.length === 0) {
    throw new QuerentError(
      'QRT_USAGE',
      `${metric} was given ${hypotheses.length} hypotheses and references of ${references.length} images; it needs one hypothesis an image, and at least one image.`,
      { fix: 'Give both lists in the same order, an entry an image.', details: { hypotheses: hypotheses.length, images: references.length } },
    );
  }
  const without = references.findIndex((list) => list.length === 0);
  if (without >= 0) {
    throw new QuerentError('QRT_USAGE', `${metric}: image ${without} has no reference caption; each image needs at least one.`, {
      fix: 'Leave images without captions out.',
      details: { image: without },
    });
  }
}
