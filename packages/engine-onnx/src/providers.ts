/**
 * Execution providers: what this build of onnxruntime-node has, and an honest error for what it has not. A provider is
 * never replaced silently: who asks for `cuda` gets cuda or QRT_ENGINE_PROVIDER.
 */
import { listSupportedBackends } from 'onnxruntime-node';
import { QuerentError } from '@querent/core';

/** Every backend name that may be asked for; whether it runs here is another question. */
export const PROVIDERS = ['cpu', 'cuda', 'tensorrt', 'webgpu', 'coreml', 'dml'] as const;
export type Provider = (typeof PROVIDERS)[number];

/** A provider that onnxruntime-node was built with. */
export interface AvailableProvider {
  readonly name: string;
  /** False when its libraries are not inside the npm package and must be installed (cuda, tensorrt). */
  readonly bundled: boolean;
}

const INSTALL: Readonly<Record<Provider, string>> = {
  cpu: 'It is part of onnxruntime-node: reinstall onnxruntime-node for this platform.',
  cuda: 'It needs Linux x64 with an NVIDIA driver, CUDA 12 and cuDNN 9, and onnxruntime-node installed with its GPU libraries (run `node script/install.js --onnxruntime-node-install=cuda12` in its folder).',
  tensorrt: 'It needs Linux x64 with CUDA 12, TensorRT 10, and onnxruntime-node installed with its GPU libraries (run `node script/install.js --onnxruntime-node-install=cuda12` in its folder).',
  webgpu: 'It needs a Vulkan (Linux), Metal (macOS) or Direct3D 12 (Windows) driver; on Debian without a GPU, scripts/install-webgpu.sh gets a software Vulkan.',
  coreml: 'It is in the macOS build of onnxruntime-node only.',
  dml: 'It is in the Windows build of onnxruntime-node only.',
};

/** What this build of onnxruntime-node knows. Being listed does not promise a device: that shows when a session is made. */
export function availableProviders(): readonly AvailableProvider[] {
  return listSupportedBackends();
}

/**
 * The provider of a backend name.
 *
 * @throws QuerentError QRT_ENGINE_PROVIDER when it does not exist, or this build of onnxruntime-node lacks it.
 */
export function parseProvider(backend: string): Provider {
  const provider = PROVIDERS.find((name) => name === backend);
  const available = availableProviders().map(({ name }) => name);
  if (provider === undefined) {
    throw new QuerentError('QRT_ENGINE_PROVIDER', `onnxruntime has no backend ${JSON.stringify(backend)}; the names are ${PROVIDERS.join(', ')}.`, {
      fix: `Available here: ${available.join(', ')}.`,
      details: { backend, available },
    });
  }
  if (!available.includes(provider)) throw providerError(provider, `this build for ${process.platform}/${process.arch} does not have it`);
  return provider;
}

/** The error for a provider that is known here but does not start. */
export function providerError(provider: Provider, reason: string, cause?: unknown): QuerentError {
  const available = availableProviders();
  const list = available.map(({ name, bundled }) => (bundled ? name : `${name} (libraries to be installed)`)).join(', ');
  return new QuerentError('QRT_ENGINE_PROVIDER', `The execution provider ${provider} is not available here: ${reason}.`, {
    fix: `${INSTALL[provider]} This build knows: ${list}. \`cpu\` always works.`,
    details: { provider, available },
    cause,
  });
}
