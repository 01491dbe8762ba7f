/** Everything that comes with Querent, as plugin values: each package's own list. Others are named in the call. */
import type { Plugin } from '@querent/core';
import { encoderPlugins } from '@querent/encoders';
import { onnxruntime } from '@querent/engine-onnx';
import { tfjs } from '@querent/engine-tfjs';
import { bleuMetric, ciderMetric, meteorMetric, rougeMetric, vqaMetric } from '@querent/evaluation';
import { blipMatchingPlugin, languageModels } from '@querent/llm-adapters';
import { qformerPlugins } from '@querent/qformer';
import { storePlugins, taskPlugins } from '@querent/tasks';

export const builtInPlugins: readonly Plugin[] = [onnxruntime, tfjs, ...encoderPlugins, ...qformerPlugins, blipMatchingPlugin, ...languageModels, ...taskPlugins, bleuMetric, rougeMetric, ciderMetric, meteorMetric, vqaMetric, ...storePlugins];
