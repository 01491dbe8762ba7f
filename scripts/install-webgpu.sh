#!/usr/bin/env bash
# WebGPU without a graphics card: a software Vulkan (SwiftShader, out of Debian's chromium-common) and Dawn for Node with
# TensorFlow.js's backend on it (npm). Debian's packages are unpacked, not installed: no root, and nothing of the system changes.
#   install-webgpu.sh VULKAN_DIR PEERS_DIR
# VULKAN_DIR gets the driver and `env`, shell lines that name it; PEERS_DIR gets node_modules/ (QUERENT_TFJS_NODE looks there).
# Run it again at will: finished steps are skipped, the self-test always runs. Needs apt-get with package lists, dpkg, npm.
set -euo pipefail
say() { printf '[webgpu +%ds] %s\n' "$SECONDS" "$*"; }
die() { printf '[webgpu] FAILED: %s\n' "$*" >&2; exit 1; }
[ $# -eq 2 ] || die "usage: $0 VULKAN_DIR PEERS_DIR"
for c in node npm apt-get dpkg; do command -v "$c" >/dev/null || die "'$c' is not on PATH"; done
mkdir -p "$1" "$2"; vulkan=$(cd "$1" && pwd) peers=$(cd "$2" && pwd)

# 1. The driver and Vulkan's loader: three files.
driver=$vulkan/vk_swiftshader_icd.json
if [ -f "$driver" ]; then
  say "1/3 SwiftShader already there"
else
  say "1/3 apt: chromium-common, libvulkan1"
  tmp=$(mktemp -d "$vulkan/.deb.XXXXXX"); trap 'rm -rf "$tmp"' EXIT
  (cd "$tmp" && { apt-get download chromium-common libvulkan1 || { apt-get update && apt-get download chromium-common libvulkan1; }; }) || die "apt-get download"
  for deb in "$tmp"/*.deb; do dpkg -x "$deb" "$tmp/root"; done
  cp -L "$tmp"/root/usr/lib/*-linux-gnu/libvulkan.so.1 "$vulkan/" || die "this libvulkan1 has no loader"
  cp "$tmp"/root/usr/lib/chromium/{libvk_swiftshader.so,vk_swiftshader_icd.json} "$vulkan/" || die "this chromium-common has no SwiftShader"
fi
cat > "$vulkan/env" <<ENV
export VK_DRIVER_FILES='$driver' VK_ICD_FILENAMES='$driver'
export LD_LIBRARY_PATH='$vulkan'"\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
ENV

# 2. Dawn for Node and TensorFlow.js's backend, with the core that both need.
[ -f "$peers/package.json" ] || echo '{"name":"webgpu-host","private":true}' > "$peers/package.json"
if [ -d "$peers/node_modules/webgpu" ] && [ -d "$peers/node_modules/@tensorflow/tfjs-backend-webgpu" ]; then
  say "2/3 npm packages already present"
else
  say "2/3 npm: webgpu, @tensorflow/tfjs-backend-webgpu"
  (cd "$peers" && npm install webgpu@0.6.2 @tensorflow/tfjs-backend-webgpu@4.22.0 @tensorflow/tfjs-core@4.22.0 --ignore-scripts --no-audit --no-fund --loglevel=error) || die "npm install"
fi

# 3. A device that adds.
say "3/3 self-test"
# shellcheck disable=SC1091
. "$vulkan/env"
cd "$peers" && node --input-type=module -e '
import { create, globals } from "webgpu";
Object.assign(globalThis, globals);
const gpu = create([]);
const adapter = await gpu.requestAdapter();
if (adapter === null) throw new Error("there is no adapter");
const device = await adapter.requestDevice();
const code = "@group(0) @binding(0) var<storage, read_write> x: array<f32>; @compute @workgroup_size(1) fn main() { x[0] = x[0] + 2; }";
const pipeline = device.createComputePipeline({ layout: "auto", compute: { module: device.createShaderModule({ code }) } });
const x = device.createBuffer({ size: 4, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
const out = device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
device.queue.writeBuffer(x, 0, Float32Array.of(40));
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
pass.setPipeline(pipeline);
pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer: x } }] }));
pass.dispatchWorkgroups(1);
pass.end();
encoder.copyBufferToBuffer(x, 0, out, 0, 4);
device.queue.submit([encoder.finish()]);
await out.mapAsync(GPUMapMode.READ);
const [sum] = new Float32Array(out.getMappedRange());
if (sum !== 42) throw new Error(`40 + 2 is ${sum}`);
console.log(adapter.info.description);
' || die "Dawn does not compute on it"
say "works: . $vulkan/env"
