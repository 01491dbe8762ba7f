/** The matching head's own logits: a probability near 1 no longer tells two good matches apart. */
import type { Engine, TensorData } from '@querent/core';
import { QuerentError, int64 } from '@querent/core';
import { createGraph } from '@querent/graph';
import { loadTokenizer, matchParameters, openModelFolder } from '@querent/hub';
import { bridgeFeeds } from '../texts.ts';
import type { VisionLanguageModel } from '../vision-language-model.ts';

export interface Matcher extends AsyncDisposable {
  /** The logit of "they belong together" of one image, [1, patches, width], with each text. */
  logits(features: TensorData<'float32'>, texts: readonly string[], signal?: AbortSignal): Promise<Float32Array>;
}

/** Longest text for a bridge whose config does not say. */
const MAX_TOKENS = 512;

/** @throws QuerentError QRT_MODEL_UNSUPPORTED when the model has no matching head. */
export async function openMatcher(engine: Engine, model: VisionLanguageModel): Promise<Matcher> {
  const { bridge, encoder } = model.parts;
  const folder = await openModelFolder(model.name);
  if (folder.tokenizerFile === undefined) throw new QuerentError('QRT_TOKENIZER', `${model.name} has no tokenizer.json.`, { fix: 'Copy tokenizer.json into the folder.' });
  const tokenizer = await loadTokenizer(folder.tokenizerFile);
  const g = createGraph('matching');
  const built = bridge.plugin.build(g, bridge.config);
  if (built.match === undefined) throw new QuerentError('QRT_MODEL_UNSUPPORTED', `The bridge ${bridge.plugin.name} of ${model.name} has no matching head.`, { fix: 'Evaluate a stage-1 model, for instance models/querent-mini-retrieval.' });
  const text = { inputIds: g.input('input_ids', 'int64', ['rows', 'tokens']), attentionMask: g.input('attention_mask', 'int64', ['rows', 'tokens']) };
  const features = g.input('features', 'float32', ['batch', 'patches', encoder.plugin.width(encoder.config)]);
  g.output('logits', built.match(features, text, { images: g.input('images', 'int64', ['rows']) }));
  const { parameters } = matchParameters(g.graph.parameters, folder.parameters, { file: model.name });
  const executable = await engine.compile(g.graph, parameters);
  const limit: unknown = Reflect.get(bridge.config, 'max_position_embeddings');
  return {
    async logits(image, texts, signal) {
      const { ids, mask } = bridgeFeeds(tokenizer, texts, typeof limit === 'number' ? limit : MAX_TOKENS);
      const feeds = { features: image, input_ids: ids, attention_mask: mask, images: int64([texts.length], texts.map(() => 0)) };
      const outputs = await executable.run(feeds, signal === undefined ? {} : { signal });
      return Float32Array.from(texts, (_, row) => Number(outputs['logits']?.data[2 * row + 1]));
    },
    [Symbol.asyncDispose]: () => executable[Symbol.asyncDispose](),
  };
}
