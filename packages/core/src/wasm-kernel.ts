/** Inner loops in WebAssembly: a package keeps their bytes as base64 in a TypeScript file, which its `wasm/build.mjs` writes. */

/** The part of the platform's WebAssembly that is used here; its types come only with the DOM's. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
};

/** What every kernel exports beside its functions. */
export interface KernelMemory {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
}

const compiled: Map<string, object> = new Map();

/** A new instance, with memory of its own. The bytes are compiled once. @typeParam Exports what the source, `wasm/build.mjs`, declares */
export function openKernel<Exports extends KernelMemory>(base64: string): Exports {
  const module = compiled.get(base64) ?? new WebAssembly.Module(Buffer.from(base64, 'base64'));
  compiled.set(base64, module);
  return new WebAssembly.Instance(module).exports as Exports; // as its source declares
}
