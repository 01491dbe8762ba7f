/**
 * Any image model in an `.onnx` file as an encoder: the config names the file and says how pixels are prepared. What comes out
 * is read by its rank: [batch, patches, width] as it is, a map [batch, width, rows, columns] row by row, [batch, width] as one
 * patch. How the file's graph gets into another one is in `onnx-splice.ts`.
 */
import { readFile, realpath, stat } from 'node:fs/promises';
import { join, relative, isAbsolute } from 'node:path';
import type { EncoderBuildOptions, EncoderConfig, EncoderOutput, EncoderPlugin, Graph, OpenedEncoder, ParameterSet, PreprocessorConfig, Scope, Tensor } from '@querent/core';
import { QuerentError, isFileTensor } from '@querent/core';
import { cast, createGraph, readOnnx, reshape, transpose, unsqueeze } from '@querent/graph';
import { createImageProcessor, preprocessorConfigSchema } from '@querent/images';
import { assertOpset, splice } from './onnx-splice.ts';
import { BICUBIC, CLIP_MEAN, CLIP_STD, squash } from './preprocess.ts';
import { count } from './schema.ts';

export interface OnnxEncoderConfig extends EncoderConfig {
  /** Path of the `.onnx` file, below the folder of the document that holds this config. */
  readonly file: string;
  /** Width of the features: checked against the file. */
  readonly hidden_size: number;
  /** How pixels are prepared; the file reads pictures of this size. */
  readonly preprocessing: PreprocessorConfig;
  /** The file's image input, float32 [batch, 3, height, width]. Default its only input. */
  readonly input?: string;
  /** The file's output to take features from. Default its first one. */
  readonly output?: string;
  /** The file's output [batch, width] that is the pooled vector. Default none. */
  readonly pooled_output?: string;
}

const NAME = 'onnx';

/** Protobuf's own limit: a larger model keeps its weights in files beside it. */
const LARGEST_FILE = 2 ** 31;

/**
 * Reads the file that a config names.
 *
 * @param folder that the file lies in, or in a folder below it
 * @throws QuerentError QRT_FILE when it cannot be read, QRT_CONFIG_INVALID when the config does not fit it, QRT_GRAPH_FORMAT
 *   for damaged files, QRT_MODEL_UNSUPPORTED for operators, opsets and layouts that are not read.
 * @example
 * const { encoder, parameters } = await openOnnxEncoder({ ...config, file: 'mobilenet.onnx' }, 'models/mobilenet');
 */
export async function openOnnxEncoder(config: OnnxEncoderConfig, folder: string): Promise<OpenedEncoder<OnnxEncoderConfig>> {
  const path = await pathWithin(folder, config.file);
  const { graph, parameters, opsets } = readOnnx(await readBounded(path), { directory: join(path, '..') });
  assertOpset(graph, opsets, config.file);
  await assertFilesHold(parameters, config.file, folder);
  const build = (g: Scope, pixelValues: Tensor, _config: OnnxEncoderConfig, options: EncoderBuildOptions = {}): EncoderOutput => buildFrom(g, graph, pixelValues, config, options);
  const { width, height } = createImageProcessor(config.preprocessing);
  const trial = createGraph(NAME);
  const pixels = trial.input('pixel_values', 'float32', ['batch', 3, height, width]);
  const { lastHiddenState } = build(trial, pixels, config, { pooled: config.pooled_output !== undefined });
  const [, patches, features] = lastHiddenState.shape;
  if (features !== config.hidden_size || typeof patches !== 'number') {
    throw new QuerentError('QRT_CONFIG_INVALID', `${config.file} gives features [${lastHiddenState.shape.join(', ')}]; hidden_size says [batch, patches, ${config.hidden_size}].`, {
      fix: 'Correct hidden_size, or name another output.',
      details: { file: config.file, shape: lastHiddenState.shape },
    });
  }
  const read = new Map([...parameters].filter(([name]) => trial.graph.parameters.has(name)));
  return { encoder: { ...plugin, patches: () => patches, build }, parameters: read };
}

/** @throws QuerentError QRT_CONFIG_INVALID when the path leads out of the folder, QRT_FILE when nothing is there. */
async function pathWithin(folder: string, file: string): Promise<string> {
  const outside = (): QuerentError =>
    new QuerentError('QRT_CONFIG_INVALID', `The config's file ${JSON.stringify(file)} is not below its own folder.`, { fix: 'Put the .onnx file beside the config and name it.', details: { file } });
  if (file.includes('\0') || isAbsolute(file)) throw outside();
  try {
    const [root, path] = await Promise.all([realpath(folder), realpath(join(folder, file))]);
    const way = relative(root, path);
    if (way.startsWith('..') || isAbsolute(way)) throw outside();
    return path;
  } catch (cause) {
    if (cause instanceof QuerentError) throw cause;
    throw new QuerentError('QRT_FILE', `There is no file ${file} in ${folder}.`, { fix: 'Check the path in vision_config; it is relative to the config.', details: { file, folder }, cause });
  }
}

async function readBounded(path: string): Promise<Uint8Array> {
  try {
    const found = await stat(path);
    if (found.isFile() && found.size < LARGEST_FILE) return await readFile(path);
    throw new QuerentError('QRT_FILE', `${path} is ${found.isFile() ? `a file of ${found.size} bytes; an .onnx file has less than ${LARGEST_FILE}` : 'no file'}.`, { fix: 'Name an .onnx file.' });
  } catch (cause) {
    if (cause instanceof QuerentError) throw cause;
    throw new QuerentError('QRT_FILE', `${path} cannot be read.`, { fix: 'Check that it is there and may be read.', cause });
  }
}

/** Weights in files beside the model must lie within them, and those files below the folder. */
async function assertFilesHold(parameters: ParameterSet, file: string, folder: string): Promise<void> {
  const root = await realpath(folder);
  for (const [name, data] of parameters) {
    if (!isFileTensor(data)) continue;
    const size = await stat(data.file).then((found) => (found.isFile() ? found.size : -1), () => -1);
    const real = size < 0 ? data.file : await realpath(data.file);
    if (data.offset + data.byteLength <= size && !relative(root, real).startsWith('..')) continue;
    throw new QuerentError('QRT_GRAPH_FORMAT', `${file}: the weights of ${name} are not in ${data.file}, which ${size < 0 ? 'is not there' : `has ${size} bytes`}.`, { fix: 'Copy the files beside the .onnx file too, whole.' });
  }
}

function buildFrom(g: Scope, graph: Graph, pixelValues: Tensor, config: OnnxEncoderConfig, options: EncoderBuildOptions): EncoderOutput {
  const input = imageInput(graph, pixelValues, config);
  const features = outputOf(graph, config.output ?? [...graph.outputs.keys()][0], config);
  const pooled = options.pooled === true && config.pooled_output !== undefined ? outputOf(graph, config.pooled_output, config) : undefined;
  const [found, vector] = splice(g, graph, input, pixelValues, pooled === undefined ? [features] : [features, pooled]);
  const lastHiddenState = asPatches(found!, pixelValues, config);
  if (vector === undefined) return { lastHiddenState };
  if (vector.shape.length !== 2) throw unfit(config, `the pooled output is [${vector.shape.join(', ')}]; expected [batch, width]`, 'Name another pooled_output, or none.');
  return { lastHiddenState, pooled: asFloat(vector) };
}

function imageInput(graph: Graph, pixelValues: Tensor, config: OnnxEncoderConfig): Tensor {
  const input = config.input === undefined && graph.inputs.length === 1 ? graph.inputs[0] : graph.inputs.find(({ name }) => name === config.input);
  if (input === undefined) throw unfit(config, `its inputs are ${list(graph.inputs.map(({ name }) => name))}${config.input === undefined ? '' : `, not ${config.input}`}`, 'Name the one that takes the image: "input".');
  const fits = input.shape.length === 4 && input.shape.every((dim, i) => typeof dim === 'string' || dim === pixelValues.shape[i]);
  if (fits && input.dtype === 'float32') return input;
  const isBatch = input.shape.length === 4 && typeof input.shape[0] === 'number';
  throw unfit(
    config,
    `${input.name} takes ${input.dtype} [${input.shape.join(', ')}]; the preprocessing gives float32 [${pixelValues.shape.join(', ')}]`,
    isBatch ? 'Export it with a dynamic batch axis, and let the preprocessing give its size.' : 'Let the preprocessing give its size; layouts other than NCHW are not read.',
  );
}

function outputOf(graph: Graph, name: string | undefined, config: OnnxEncoderConfig): Tensor {
  const output = name === undefined ? undefined : graph.outputs.get(name);
  if (output === undefined) throw unfit(config, `its outputs are ${list([...graph.outputs.keys()])}${name === undefined ? '' : `, not ${name}`}`, 'Name one of them.');
  return output;
}

/** float32 [batch, patches, width], whatever the file's layout is. */
function asPatches(features: Tensor, pixelValues: Tensor, config: OnnxEncoderConfig): Tensor {
  const { shape } = features;
  const [batch, second, rows, columns] = shape;
  if (shape.length >= 2 && shape.length <= 4 && batch === pixelValues.shape[0] && shape.slice(1).every((dim) => typeof dim === 'number')) {
    const values = asFloat(features);
    if (shape.length === 3) return values;
    if (shape.length === 2) return unsqueeze(values, [1]); // [batch, 1, width]
    return transpose(reshape(values, [batch!, second!, Number(rows) * Number(columns)]), [0, 2, 1]); // [batch, patches, width]
  }
  throw unfit(config, `the features are [${shape.join(', ')}]; expected the batch and then [patches, width], [width, rows, columns] or [width] as numbers`, 'Run ONNX shape inference on it, or name another output.');
}

function asFloat(x: Tensor): Tensor {
  return x.dtype === 'float32' ? x : cast(x, 'float32');
}

function unfit({ file }: OnnxEncoderConfig, problem: string, fix: string): QuerentError {
  return new QuerentError('QRT_CONFIG_INVALID', `${file} does not fit its config: ${problem}.`, { fix, details: { file } });
}

function list(names: readonly string[]): string {
  return names.slice(0, 8).join(', ') || 'none';
}

function unopened(): never {
  throw new QuerentError('QRT_USAGE', 'An encoder in an .onnx file was used before its file was read.', { fix: 'Go on with what open() or openOnnxEncoder() gives.' });
}

const text = (description: string): Readonly<Record<string, unknown>> => ({ type: 'string', minLength: 1, description });
const { $id: _id, ...preprocessingSchema } = preprocessorConfigSchema; // a schema may have its $id in one place only

const plugin: EncoderPlugin<OnnxEncoderConfig> = {
  kind: 'encoder',
  name: NAME,
  contract: 1,
  configSchema: {
    type: 'object',
    description: 'An image model in an .onnx file.',
    required: ['model_type', 'file', 'hidden_size', 'preprocessing'],
    properties: {
      model_type: { const: NAME, description: 'Names this encoder.' },
      file: text('Path of the .onnx file, relative to this document and below its folder.'),
      hidden_size: count('Width of the features.'),
      preprocessing: preprocessingSchema,
      input: text("The file's image input; default its only one."),
      output: text("The file's output to take features from; default its first one."),
      pooled_output: text("The file's output that is the pooled vector."),
    },
  },
  // What has no default is asked for by the schema.
  defaults: { model_type: NAME, file: '', hidden_size: 0, preprocessing: squash(224, BICUBIC, CLIP_MEAN, CLIP_STD) },
  open: openOnnxEncoder,
  preprocess: ({ preprocessing }) => preprocessing,
  width: (config) => config.hidden_size,
  patches: unopened,
  build: unopened,
  layers: () => 1,
  layerOf: () => 0,
};
export default plugin;
