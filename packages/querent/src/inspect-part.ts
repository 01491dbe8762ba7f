/** A folder that is one model alone: an encoder, a language model or a dual encoder (CLIP), under whatever prefix its checkpoint has. */
import type { DualEncoderFamily, EncoderConfig, EncoderPlugin, FileTensor, Graph, GraphParameter, ParameterSet, PluginRegistry } from '@querent/core';
import { QuerentError, isFileTensor, languageConfig, nearest, validate } from '@querent/core';
import { dualEncoders } from '@querent/encoders';
import { createGraph } from '@querent/graph';
import type { ModelFolder } from '@querent/hub';
import type { ImageProcessor } from '@querent/images';
import { createImageProcessor } from '@querent/images';
import { decodeGraph, prefillGraph } from '@querent/llm-adapters';
import type { Declared, DeclaredPart } from './inspect.ts';
import { cacheBytes } from './inspect-memory.ts';
import type { Part } from './model-parts.ts';

/**
 * @throws QuerentError QRT_MODEL_UNSUPPORTED when no plugin has its model_type, QRT_CONFIG_INVALID, and what the encoder's `open` does.
 */
export async function alone(folder: ModelFolder, registry: PluginRegistry): Promise<Declared> {
  const modelType = String(folder.config['model_type']);
  const file = `${folder.path}/config.json`;
  const encoders = registry.list('encoder');
  const languageModels = registry.list('language-model');
  const plugin = encoders.find(({ name }) => name === modelType);
  if (plugin !== undefined) {
    const config = { ...plugin.defaults, ...validate<EncoderConfig>(plugin.configSchema, folder.config, { what: 'the config', file }) };
    const opened = await plugin.open?.(config, folder.path);
    const part = { plugin: opened?.encoder ?? plugin, config };
    const holding = opened === undefined ? folder : { ...folder, parameters: new Map([...folder.parameters, ...inFiles(opened.parameters, folder.path)]) };
    const processor = createImageProcessor(plugin.preprocess(config));
    const graph = encoderGraph(part, processor, '', false);
    return one({ part: 'image encoder', family: modelType, folder: holding }, [graph], () => encoderGraph(part, processor, '', true).parameters.keys(), 0);
  }
  const languageModel = languageModels.find(({ name }) => name === modelType);
  if (languageModel !== undefined) {
    const config = languageConfig(languageModel, folder.config, folder.parameters.size === 0 ? undefined : (name) => folder.parameters.has(name), { what: 'the config', file });
    const graphs = [prefillGraph(languageModel, config), decodeGraph(languageModel, config)];
    return one({ part: 'language model', family: modelType, folder }, graphs, () => [], cacheBytes(languageModel.caches(config)));
  }
  const dual = dualEncoders.find(({ name }) => name === modelType);
  if (dual !== undefined) return one({ part: 'dual encoder', family: modelType, folder }, [dualGraph(dual, folder, file)], () => [], 0);
  const names = [...encoders, ...languageModels, ...dualEncoders].map(({ name }) => name);
  const near = nearest(modelType, names);
  throw new QuerentError('QRT_MODEL_UNSUPPORTED', `${file}: /model_type is ${JSON.stringify(folder.config['model_type'])}, which no plugin has.`, {
    fix: near === undefined ? `There are ${names.join(', ')}; a whole model has vision_config and qformer_config.` : `Did you mean ${JSON.stringify(near)}?`,
    details: { modelType },
  });
}

/** Tensors of an encoder's own files, as if all lay in files: only their sizes are told. */
export function inFiles(parameters: ParameterSet, folder: string): Map<string, FileTensor> {
  return new Map(
    [...parameters].map(([name, data]) => [name, isFileTensor(data) ? data : { dtype: data.dtype, shape: data.shape, file: folder, offset: 0, byteLength: data.data.byteLength }]),
  );
}

/** An encoder's graph, its parameters named from `scope` on. */
export function encoderGraph({ plugin, config }: Part<EncoderPlugin, EncoderConfig>, processor: ImageProcessor, scope: string, pooled: boolean): Graph {
  const g = createGraph('encoder');
  const pixels = g.input('pixel_values', 'float32', ['batch', 3, processor.height, processor.width]);
  g.output('features', plugin.build(scope === '' ? g : g.scope(scope), pixels, config, { pooled }).lastHiddenState);
  return g.graph;
}

/** Both towers, and how alike what they see is. */
function dualGraph(family: DualEncoderFamily, folder: ModelFolder, file: string): Graph {
  const config = family.complete(validate<Readonly<Record<string, unknown>>>(family.configSchema, folder.config, { what: 'the config', file }));
  const g = createGraph('dual-encoder');
  const { height, width } = createImageProcessor(family.preprocess(config));
  const towers = family.build(g, config);
  const images = towers.imageFeatures(g.input('pixel_values', 'float32', ['images', 3, height, width]));
  const { masksPadding } = family.textRules(config);
  const { features } = towers.text({
    inputIds: g.input('input_ids', 'int64', ['texts', 'tokens']),
    ...(masksPadding ? { attentionMask: g.input('attention_mask', 'int64', ['texts', 'tokens']) } : {}),
  });
  g.output('logits', towers.logits(images, features));
  return g.graph;
}

function one({ part, family, folder }: { readonly part: DeclaredPart['part']; readonly family: string; readonly folder: ModelFolder }, graphs: readonly Graph[], known: () => Iterable<string>, cacheBytesPerToken: number): Declared {
  const own = new Map<string, GraphParameter>(graphs.flatMap((graph) => [...graph.parameters]));
  const prefix = prefixOf([...own.keys()], [...folder.parameters.keys()]);
  const declared = new Map([...own].map(([name, parameter]) => [prefix + name, parameter] as const));
  return {
    parts: [{ part, family, folder: folder.path, declared, isTrainable: () => false }],
    available: folder.parameters,
    known: () => new Set(Array.from(known(), (name) => prefix + name)),
    graphs,
    cacheBytesPerToken,
  };
}

/** What stands before the most names: nothing, or for instance `vit.` where the checkpoint is a classifier's. */
function prefixOf(declared: readonly string[], available: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const wanted of declared.slice(0, 20)) {
    for (const name of available) {
      if (name !== wanted && !name.endsWith(`.${wanted}`)) continue;
      const prefix = name.slice(0, name.length - wanted.length);
      counts.set(prefix, (counts.get(prefix) ?? 0) + 1);
    }
  }
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? '';
}
