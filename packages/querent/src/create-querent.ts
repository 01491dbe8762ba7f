/**
 * The composition root: the one place where plugins, engines and models meet. Everything that Querent does can be built by hand from
 * its packages; this is the short way, and the only holder of the registry (inversify, behind core's `createRegistry`).
 */
import { resolve } from 'node:path';
import type { Engine, PluginRegistry } from '@querent/core';
import { QuerentError, createRegistry } from '@querent/core';
import type { DownloadEvent } from '@querent/hub';
import { builtInPlugins } from './built-in-plugins.ts';
import { loadModel } from './load.ts';
import type { RecipeObject } from './model-source.ts';
import { importPlugins } from './plugins.ts';
import type { CalibrationOptions } from './encoder-precision.ts';
import type { Precision } from './precision.ts';
import { PRECISIONS } from './precision.ts';
import type { LoadProgress } from './load-progress.ts';
import { startEngine } from './start-engine.ts';
import type { VisionLanguageModel } from './vision-language-model.ts';

export interface QuerentOptions {
  /**
   * Plugins beside the built-in ones: values of `defineX`, names of packages, or paths (see `plugins.ts`). One with the kind and name of
   * a built-in one takes its place.
   */
  readonly plugins?: Iterable<unknown>;
  /** `engine` or `engine:backend`. Default `onnxruntime:cpu`. */
  readonly engine?: string;
  /** Run engines in the caller's thread, which they hold while they work: for scripts and tests. Default false. */
  readonly inPlace?: boolean;
  /** How frozen weights are held. Default: as the file has them, which is fp32 but for GGUF. */
  readonly precision?: Precision;
  /** Threads within an operator. Default: the machine's cores. */
  readonly threads?: number;
  /** What loads tell that have no listeners of their own, see {@link LoadOptions}. */
  readonly onDownload?: LoadOptions['onDownload'];
  readonly onProgress?: LoadOptions['onProgress'];
}

export interface LoadOptions {
  /** `engine` or `engine:backend`, instead of the default of this Querent. */
  readonly engine?: string;
  /** How frozen weights are held, instead of the default of this Querent: see `precision.ts`. */
  readonly precision?: Precision;
  /** Pictures that an encoder's 8-bit weights and activations are chosen on, and how near they must come, under `int8` and `int4`. */
  readonly calibration?: CalibrationOptions;
  /** What relative paths of a recipe object start from. Default: the working directory. */
  readonly baseDir?: string;
  readonly signal?: AbortSignal;
  /** How far the download of a model from the hub is. */
  readonly onDownload?: (event: DownloadEvent) => void;
  /** How far the first load in a precision is, which quantises weights and may calibrate an encoder: minutes for a large one. */
  readonly onProgress?: (event: LoadProgress) => void;
}

export interface Querent extends AsyncDisposable {
  readonly registry: PluginRegistry;
  /**
   * Loads a model from a folder, by its name on the hub (`org/name`, `org/name@revision`), or from a recipe whose parts name theirs by `from`. Freed with {@link Querent.dispose} at the latest.
   *
   * @throws QuerentError with a code for each cause; see `load.ts`.
   */
  load(from: string | RecipeObject, options?: LoadOptions): Promise<VisionLanguageModel>;
  /** The engine of that name; started once, shared by all models, freed by {@link Querent.dispose}. */
  engine(name?: string): Promise<Engine>;
  /** Frees models, engines and plugins. Twice is harmless. */
  dispose(): Promise<void>;
}

const DEFAULT_ENGINE = 'onnxruntime:cpu';

/**
 * @throws QuerentError QRT_PLUGIN_INVALID for a plugin that does not keep its contract, QRT_PLUGIN_UNKNOWN for a package that is not there.
 *
 * @example
 * await using querent = await createQuerent();
 * const model = await querent.load('models/querent-mini');
 */
export async function createQuerent(options: QuerentOptions = {}): Promise<Querent> {
  const plugins = options.plugins === undefined ? undefined : await importPlugins(options.plugins);
  const root = createRegistry(builtInPlugins, { compileSchemas: false }); // built-in-plugins.test.ts compiles them
  return open(options, root, plugins === undefined ? root : root.child(plugins));
}

function open(options: QuerentOptions, root: PluginRegistry, registry: PluginRegistry): Querent {
  const engines = new Map<string, Promise<Engine>>();
  const models = new Set<VisionLanguageModel>();
  let closing: Promise<void> | undefined;

  const assertOpen = (): void => {
    if (closing !== undefined) throw new QuerentError('QRT_USAGE', 'This Querent has been disposed.', { fix: 'Create another one.' });
  };
  const start = async (name: string): Promise<Engine> => {
    return startEngine(registry, name, {
      ...(options.inPlace === undefined ? {} : { inPlace: options.inPlace }),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
    });
  };
  const engine = async (name: string = options.engine ?? DEFAULT_ENGINE): Promise<Engine> => {
    assertOpen();
    const started = engines.get(name) ?? start(name);
    engines.set(name, started);
    started.catch(() => engines.delete(name)); // the next call tries again
    return started;
  };

  const querent: Querent = {
    registry,
    engine,
    async load(from, { engine: name, precision = options.precision, calibration, baseDir = '.', signal, onDownload = options.onDownload, onProgress = options.onProgress } = {}) {
      if (precision !== undefined && !PRECISIONS.includes(precision)) {
        throw new QuerentError('QRT_USAGE', `precision is ${JSON.stringify(precision)}; there are ${PRECISIONS.join(', ')}.`, { fix: 'Leave it out to take weights as the file has them.' });
      }
      const model = await loadModel(from, {
        registry,
        engine: await engine(name),
        baseDir: resolve(baseDir),
        onDispose: (disposed) => models.delete(disposed),
        ...(precision === undefined ? {} : { precision }),
        ...(calibration === undefined ? {} : { calibration }),
        ...(signal === undefined ? {} : { signal }),
        ...(onDownload === undefined ? {} : { onDownload }),
        ...(onProgress === undefined ? {} : { onProgress }),
      });
      if (closing !== undefined) {
        await model[Symbol.asyncDispose]();
        assertOpen();
      }
      models.add(model);
      return model;
    },
    dispose() {
      closing ??= (async () => {
        for (const model of models) await model[Symbol.asyncDispose]();
        models.clear();
        for (const started of engines.values()) {
          const running = await started.catch(() => undefined); // what did not start holds nothing
          await running?.[Symbol.asyncDispose]();
        }
        await root.dispose();
      })();
      return closing;
    },
    [Symbol.asyncDispose]: () => querent.dispose(),
  };
  return querent;
}

