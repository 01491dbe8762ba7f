/**
 * TensorFlow.js's backends: opened by name, or the best one that works. `cpu` and `wasm` come with this package; the native addon (`node`,
 * `node-gpu`) and `webgpu` are optional peers, looked for beside this package, in the working directory and in the folder that
 * QUERENT_TFJS_NODE names (where scripts/install-tfjs-node.sh builds them). A backend is never replaced silently.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { QuerentError, isQuerentError } from '@querent/core';
import { findPeer, unavailable } from './peers.ts';
import type { Tf } from './tf.ts';
import { openWebGpu } from './webgpu.ts';

/** The names that may be asked for, in the order in which `auto` tries them. */
export const BACKENDS = ['node-gpu', 'node', 'webgpu', 'wasm', 'cpu'] as const;
export type BackendName = (typeof BACKENDS)[number];

/** A backend that works. */
export interface OpenBackend {
  readonly name: BackendName;
  readonly tf: Tf;
  /** What it runs on: a library's version, a device. */
  readonly about: string;
  /** Tensors are JavaScript arrays, which must be copied before they leave. */
  readonly sharesMemory: boolean;
  /** Numbers may be read in the middle of a run: the device is this process's own memory. */
  readonly readsBack: boolean;
  /** What the device refused in the runs since the last call without TensorFlow.js failing; absent where that cannot be. */
  readonly takeError?: () => string | undefined;
  /** Makes it the one that TensorFlow.js computes with; before each run, as the choice is global. */
  use(): void;
}

/** What `auto` chose, and why not what comes before it. */
export interface BackendChoice {
  readonly backend: OpenBackend;
  readonly refused: readonly { readonly backend: BackendName; readonly reason: string }[];
}

const opened = new Map<BackendName, Promise<OpenBackend>>();

/**
 * Opens a backend; once for the process. `auto` takes the first that works.
 *
 * @throws QuerentError QRT_ENGINE_PROVIDER when it is unknown or does not work here.
 */
export async function openBackend(name: string): Promise<BackendChoice> {
  if (name === 'auto') return openFirst();
  const known = BACKENDS.find((backend) => backend === name);
  if (known === undefined) {
    throw new QuerentError('QRT_ENGINE_PROVIDER', `tfjs has no backend ${JSON.stringify(name)}; the names are auto, ${BACKENDS.join(', ')}.`, { fix: '`tfjs:auto` takes the first that works; `querent doctor` says which do.' });
  }
  return { backend: await open(known), refused: [] };
}

async function openFirst(): Promise<BackendChoice> {
  const refused: { backend: BackendName; reason: string }[] = [];
  for (const name of BACKENDS) {
    try {
      return { backend: await open(name), refused };
    } catch (error) {
      if (!isQuerentError(error)) throw error;
      refused.push({ backend: name, reason: error.message });
    }
  }
  throw new QuerentError('QRT_ENGINE_PROVIDER', `No backend of tfjs works here: ${refused.map(({ backend, reason }) => `${backend}: ${reason}`).join(' ')}`);
}

/** One at a time: TensorFlow.js mixes up two backends that start together. */
let opening: Promise<unknown> = Promise.resolve();

function open(name: BackendName): Promise<OpenBackend> {
  const known = opened.get(name) ?? opening.then(() => OPEN[name]());
  opening = known.catch(() => undefined);
  opened.set(name, known);
  known.catch(() => opened.delete(name)); // the next call tries again
  return known;
}

const OPEN: Readonly<Record<BackendName, () => Promise<OpenBackend>>> = {
  'node-gpu': () => openNative('node-gpu', '@tensorflow/tfjs-node-gpu'),
  node: () => openNative('node', '@tensorflow/tfjs-node'),
  webgpu: async () => {
    const tf = await loadCore();
    const { about, takeError } = await openWebGpu(tf);
    return { ...backendOf('webgpu', 'webgpu', tf, about, { sharesMemory: false, readsBack: false }), takeError };
  },
  wasm: async () => {
    const tf = await loadCore();
    const wasm = await import('@tensorflow/tfjs-backend-wasm');
    wasm.setWasmPaths(join(dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm')), '/'));
    await start('wasm', tf);
    return backendOf('wasm', 'wasm', tf, `TensorFlow.js ${tf.version_core}, one thread`, { sharesMemory: false, readsBack: true });
  },
  cpu: async () => {
    const tf = await loadCore();
    await import('@tensorflow/tfjs-backend-cpu');
    await start('cpu', tf);
    return backendOf('cpu', 'cpu', tf, `TensorFlow.js ${tf.version_core}, plain JavaScript`, { sharesMemory: true, readsBack: true });
  },
};

/** The core that comes with this package. In production mode it neither advises nor checks each number. */
async function loadCore(): Promise<Tf> {
  const module = await import('@tensorflow/tfjs-core');
  const tf = 'default' in module ? (module.default as Tf) : module; // CommonJS: all names are in the default export
  tf.enableProdMode();
  return tf;
}

async function start(registered: string, tf: Tf): Promise<void> {
  const isStarted = await tf.setBackend(registered).catch((cause: unknown) => {
    throw unavailable(registered, cause instanceof Error ? cause.message : String(cause), 'Reinstall @querent/engine-tfjs.', cause);
  });
  if (!isStarted) throw unavailable(registered, 'TensorFlow.js could not start it', 'Reinstall @querent/engine-tfjs.');
}

function backendOf(name: BackendName, registered: string, tf: Tf, about: string, traits: Pick<OpenBackend, 'sharesMemory' | 'readsBack'>): OpenBackend {
  const instance = tf.backend();
  return {
    name,
    tf,
    about,
    ...traits,
    use: () => {
      // Its name alone does not tell: another backend may be starting. Setting acts at once, as this one has been started before.
      if (tf.getBackend() !== registered || tf.backend() !== instance) void tf.setBackend(registered);
    },
  };
}

/** What the addon adds to a backend. */
interface NativeBackend {
  readonly isUsingGpuDevice?: boolean;
  readonly binding?: { readonly TF_Version?: string };
}

async function openNative(name: 'node' | 'node-gpu', packageName: string): Promise<OpenBackend> {
  await loadCore(); // quiet before the addon's own copy of the core registers the same kernels
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
  const file = findPeer(packageName);
  const build = `scripts/install-tfjs-node.sh cache/tfjs-node ${name === 'node' ? 'cpu' : 'gpu'}, then QUERENT_TFJS_NODE=cache/tfjs-node`;
  if (file === undefined) throw unavailable(name, `${packageName} is not installed`, `npm install ${packageName}@4.22.0, or without its download: ${build}.`);
  let tf: Tf;
  try {
    const module = (await import(pathToFileURL(file).href)) as { readonly default: Tf }; // CommonJS
    tf = module.default;
    await tf.setBackend('tensorflow');
    await tf.ready();
  } catch (cause) {
    throw unavailable(name, `${packageName} does not load (${cause instanceof Error ? cause.message.split('\n')[0] : String(cause)})`, `Build its addon: ${build}.`, cause);
  }
  const native = tf.backend() as unknown as NativeBackend; // NodeJSKernelBackend, whose type comes with the optional peer
  if (name === 'node-gpu' && native.isUsingGpuDevice !== true) {
    throw unavailable(name, `${packageName} is installed, but it sees no GPU`, 'It needs Linux x64, an NVIDIA driver, CUDA 11.8 and cuDNN 8.6; tfjs:node computes on the processor.');
  }
  return backendOf(name, 'tensorflow', tf, `libtensorflow ${native.binding?.TF_Version ?? '?'}, ${native.isUsingGpuDevice === true ? 'GPU' : 'CPU'}`, { sharesMemory: false, readsBack: name === 'node' });
}
