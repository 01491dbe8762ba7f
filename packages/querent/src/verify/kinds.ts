/** Which of BLIP-2's three shapes a folder holds, told by what it expects. InstructBLIP has one of them. */
import type { JsonObject } from '@querent/hub';
import { isJsonObject } from '@querent/hub';
import type { Tensors } from './fixture.ts';

export function captioningModel(modelType: string, config: JsonObject, expected: Tensors): 'stage1' | 'retrieval' | 'captioning' | undefined {
  if (!isJsonObject(config['qformer_config'])) return undefined;
  if (modelType === 'instructblip') return 'captioning';
  if (modelType !== 'blip-2') return undefined;
  if (expected.has('loss_itc') || expected.has('itg_logits')) return 'stage1';
  if (expected.has('itc_logits_per_image') || expected.has('itm_logits')) return 'retrieval';
  return 'captioning';
}
