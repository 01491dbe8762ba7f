/**
 * The WebGPU backend in Node: Dawn (npm `webgpu`) stands in for the browser's `navigator.gpu`. TensorFlow.js registers its backend in
 * browsers only, so it is made here by hand; its kernels are registered when its package is loaded.
 */
import { createRequire } from 'node:module';
import { findPeer, unavailable } from './peers.ts';
import type { Tf } from './tf.ts';

/** The part of WebGPU that is used here; the types come with a browser's library. */
interface Gpu {
  requestAdapter(options: object): Promise<Adapter | null>;
}
interface Adapter {
  readonly info?: { readonly vendor?: string; readonly device?: string; readonly description?: string };
  readonly features: ReadonlySet<string>;
  readonly limits: Readonly<Record<string, number>>;
  requestDevice(options: object): Promise<Device>;
}
interface Device {
  addEventListener(type: 'uncapturederror', listener: (event: { readonly error: { readonly message: string } }) => void): void;
}
interface Dawn {
  readonly create: (flags: readonly string[]) => Gpu;
  readonly globals: object;
}
interface WebGpuPackage {
  readonly WebGPUBackend: new (device: object, info: object) => object;
}

const INSTALL = 'npm install webgpu @tensorflow/tfjs-backend-webgpu@4.22.0; it needs a Vulkan, Metal or Direct3D 12 driver; on Debian without a GPU, scripts/install-webgpu.sh gets both and a software Vulkan.';
/** Limits that TensorFlow.js asks an adapter for all of. */
const LIMITS = ['maxComputeWorkgroupStorageSize', 'maxComputeWorkgroupsPerDimension', 'maxStorageBufferBindingSize', 'maxBufferSize', 'maxComputeWorkgroupSizeX', 'maxComputeInvocationsPerWorkgroup'];

/** Dawn lives as long as somebody holds what `create` gave: collected under a device that works, it takes the process down. */
const held: Set<Gpu> = new Set();

/** WebGPU that has been started. */
export interface StartedWebGpu {
  /** The adapter's name. */
  readonly about: string;
  /** What the device refused since the last call: it says so aside, and TensorFlow.js goes on with numbers that are none. */
  takeError(): string | undefined;
}

/** Starts it. @throws QuerentError QRT_ENGINE_PROVIDER */
export async function openWebGpu(tf: Tf): Promise<StartedWebGpu> {
  const [dawnFile, backendFile] = [findPeer('webgpu'), findPeer('@tensorflow/tfjs-backend-webgpu')];
  if (dawnFile === undefined || backendFile === undefined) {
    throw unavailable('webgpu', `${dawnFile === undefined ? 'webgpu' : '@tensorflow/tfjs-backend-webgpu'} is not installed`, INSTALL);
  }
  try {
    const dawn = (await import(dawnFile)) as Dawn; // its own declaration of create and globals
    Object.assign(globalThis, dawn.globals);
    const gpu = dawn.create([]);
    held.add(gpu);
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (adapter === null) throw unavailable('webgpu', 'there is no adapter', INSTALL);
    const device = await adapter.requestDevice({
      requiredFeatures: ['timestamp-query'].filter((feature) => adapter.features.has(feature)),
      requiredLimits: Object.fromEntries(LIMITS.flatMap((name) => (adapter.limits[name] === undefined ? [] : [[name, adapter.limits[name]]]))),
    });
    let refused: string | undefined;
    device.addEventListener('uncapturederror', ({ error }) => {
      refused ??= error.message; // the others follow from the first
    });
    const { WebGPUBackend } = createRequire(import.meta.url)(backendFile) as WebGpuPackage; // exports it
    const backend = withNavigator(gpu, () => new WebGPUBackend(device, adapter.info ?? {})) as unknown as ReturnType<Tf['backend']>; // a KernelBackend
    tf.registerBackend('webgpu', () => backend);
    if (!(await tf.setBackend('webgpu'))) throw unavailable('webgpu', 'TensorFlow.js could not start it', INSTALL);
    const takeError = (): string | undefined => {
      const message = refused;
      refused = undefined;
      return message;
    };
    return { about: adapter.info?.description ?? adapter.info?.device ?? 'WebGPU', takeError };
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'QRT_ENGINE_PROVIDER') throw cause;
    throw unavailable('webgpu', cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause), INSTALL, cause);
  }
}

/** Runs `work` while `navigator.gpu` is there, as in a browser: TensorFlow.js's backend asks for it when it is made, and never again. */
function withNavigator<T>(gpu: Gpu, work: () => T): T {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator'); // Node 20 has none
  Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
  try {
    return work();
  } finally {
    if (before === undefined) Reflect.deleteProperty(globalThis, 'navigator');
    else Object.defineProperty(globalThis, 'navigator', before);
  }
}
