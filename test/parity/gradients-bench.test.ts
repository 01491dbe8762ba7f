/** The training benchmark measures a step that learns. Times are not asserted. */
import { createOnnxEngine } from '@querent/engine-onnx';
import { qformerPlugin } from '@querent/qformer';
import { benchTrain } from '@querent/training';
import { expect, it } from 'vitest';

const TINY = {
  hidden_size: 16, num_attention_heads: 2, intermediate_size: 32, num_hidden_layers: 2, cross_attention_frequency: 2, num_query_tokens: 3,
  encoder_hidden_size: 8, image_text_hidden_size: 8, vocab_size: 40, patches: 5, tokens: 6, batch: 3,
};

it('trains: the loss of the one batch falls; without a Python there is no peer', async () => {
  await using engine = createOnnxEngine({ threads: 1 });
  const peer = { python: 'no-such-python', script: 'peer_train.py' };
  const result = await benchTrain({ engine, threads: 1, bridge: qformerPlugin, shape: TINY, steps: 10, peer });
  expect(result.querent.lastLoss).toBeLessThan(result.querent.firstLoss);
  expect(result.querent.trainedParameters).toBeGreaterThan(5000);
  expect([result.peer, result.ratio]).toEqual([null, null]);
});

it('refuses a number of steps that is none', async () => {
  await using engine = createOnnxEngine({ threads: 1 });
  await expect(benchTrain({ engine, threads: 1, bridge: qformerPlugin, shape: TINY, steps: 0 })).rejects.toMatchObject({ code: 'QRT_USAGE' });
});
