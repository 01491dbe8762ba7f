/**
 * A new encoder from an .onnx file: any image model that another tool has written, in front of a Q-Former and a language model.
 *
 *     node examples/onnx-encoder.mjs photo.jpg
 *
 * No plugin has to be written for it: the encoder `onnx` reads the file. So that this runs without a download, the file is made here, of
 * querent-mini's own encoder; the captions are then querent-mini's. With yours, train the bridge first (docs/add-an-encoder.md).
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGraph, writeOnnx } from '@querent/graph';
import { loadTensors, openModelFolder } from '@querent/hub';
import { createQuerent, defaultModel } from 'querent';

/**
 * What another tool would have given: the file's bytes, with their weights inside, and how pixels are prepared for it.
 * `otherwise` is what a model wants of the encoder that its folder does not say, such as the size of pictures.
 */
export async function exportEncoder(encoderFolder, plugins, otherwise = {}) {
  const { config: given, parameters } = await openModelFolder(encoderFolder);
  const plugin = plugins.get('encoder', given.model_type);
  const config = { ...plugin.defaults, ...given, ...otherwise };
  const preprocessing = plugin.preprocess(config);
  const { height, width } = preprocessing.crop_size ?? preprocessing.size;
  const g = createGraph('encoder');
  g.output('features', plugin.build(g, g.input('image', 'float32', ['batch', 3, height, width]), config).lastHiddenState);
  return { bytes: writeOnnx(g.graph, { parameters: await loadTensors(parameters) }), hiddenSize: plugin.width(config), preprocessing };
}

/** The model of a folder with its encoder in an .onnx file instead. */
export async function loadWithOnnx(querent, folder, { file, hiddenSize, preprocessing }, model) {
  return querent.load(
    {
      ...JSON.parse(await readFile(join(model, 'config.json'), 'utf8')),
      vision_config: { model_type: 'onnx', file, hidden_size: hiddenSize, preprocessing }, // the line that changes
      qformer_config: { from: model },
      text_config: { from: model },
    },
    { baseDir: folder },
  );
}

/** Captions photographs with the encoder in a file; gives the sentences. */
export async function main(photos, model = defaultModel(['generate'])) {
  const folder = await mkdtemp(join(tmpdir(), 'querent-onnx-encoder-'));
  const querent = await createQuerent();
  try {
    const { from, ...otherwise } = JSON.parse(await readFile(join(model, 'config.json'), 'utf8')).vision_config;
    const { bytes, ...encoder } = await exportEncoder(join(model, from), querent.registry, otherwise);
    await writeFile(join(folder, 'encoder.onnx'), bytes);
    const loaded = await loadWithOnnx(querent, folder, { file: 'encoder.onnx', ...encoder }, model);
    const texts = [];
    for (const photo of photos) {
      const features = await loaded.encode([await loaded.prepare(photo)]);
      for await (const event of loaded.generate(await loaded.bridge(features))) if (event.type === 'text') texts.push(event.text);
    }
    return texts;
  } finally {
    await querent.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === import.meta.filename) for (const text of await main(process.argv.slice(2))) console.log(text);
