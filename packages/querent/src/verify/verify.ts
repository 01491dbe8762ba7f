/**
 * `querent verify FOLDER`: runs a folder of reference tensors and says how far the results are from them. What the folder is
 * shows in its config and in the tensors that it holds; its name never matters. Each kind has a file of its own here.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { importPlugins } from '../plugins.ts';
import { captioningModel } from './kinds.ts';
import { isBert, verifyBert } from './bert.ts';
import { isBlip, verifyBlip } from './blip.ts';
import { verifyCaptioning } from './captioning.ts';
import { verifyContrastive } from './contrastive.ts';
import { openFixture } from './fixture.ts';
import { verifyLanguageModel } from './language-model.ts';
import { verifyOptimiser } from './optimiser.ts';
import { findDualEncoder, findEncoder, findLanguageModel, pluginsFor, unsupported } from './plugins.ts';
import { picturesIn, verifyPictures } from './pictures.ts';
import { verifyPreprocessing } from './preprocessing.ts';
import type { VerifyReport } from './report.ts';
import { verifyRetrieval } from './retrieval.ts';
import { verifyStage1 } from './stage1.ts';
import { verifyTokenizer } from './tokenizer.ts';
import { verifyEncoder } from './vision.ts';

export interface VerifyOptions {
  /** `engine` or `engine:backend`. Default `onnxruntime:cpu`. */
  readonly engine?: string;
  /** Plugins beside the built-in ones: values, packages or paths, as in `createQuerent`. */
  readonly plugins?: Iterable<unknown>;
}

/**
 * Verifies one fixture folder.
 *
 * @throws QuerentError QRT_MODEL_UNSUPPORTED for a kind that is not verified, and what reading and running throw:
 *   QRT_FILE, QRT_CHECKPOINT_FORMAT, QRT_CHECKPOINT_MISMATCH, QRT_CONFIG_INVALID.
 * @example
 * const report = await verify('test/goldens/v1/vision-vit');
 */
export async function verify(folder: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const fixture = await openFixture(folder, options.engine, options.plugins === undefined ? [] : await importPlugins(options.plugins));
  const { config, notes, expected } = fixture;
  if (config === undefined) {
    if (await isFile(join(folder, 'tokenizer.json'))) return verifyTokenizer(fixture);
    if (notes['adamw'] !== undefined) return verifyOptimiser(fixture);
    if (notes['processors'] !== undefined) return verifyPreprocessing(fixture);
    if ((await picturesIn(folder)).length > 0) return verifyPictures(fixture);
    throw unsupported(folder, 'a folder without config.json, tokenizer.json, an optimiser, image processors or pictures');
  }
  const modelType = String(config['model_type']);
  if (isBert(config)) return verifyBert(fixture);
  if (isBlip(config)) return verifyBlip(fixture);
  const plugins = pluginsFor(folder, fixture.plugins);
  switch (captioningModel(modelType, config, expected)) {
    case 'stage1':
      return verifyStage1(fixture, plugins);
    case 'retrieval':
      return verifyRetrieval(fixture, plugins);
    case 'captioning':
      return verifyCaptioning(fixture, plugins);
    case undefined:
      break;
  }
  const encoder = findEncoder(modelType, fixture.plugins);
  if (encoder !== undefined) return verifyEncoder(fixture, encoder);
  const dualEncoder = findDualEncoder(modelType);
  if (dualEncoder !== undefined) return verifyContrastive(fixture, dualEncoder);
  const languageModel = findLanguageModel(modelType, fixture.plugins);
  if (languageModel !== undefined) return verifyLanguageModel(fixture, languageModel);
  throw unsupported(folder, `a model of type ${modelType}`);
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then((found) => found.isFile(), () => false);
}
