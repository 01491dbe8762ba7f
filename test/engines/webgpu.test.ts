/**
 * WebGPU on both engines, where a driver is: a graphics card's, or the software Vulkan in the folder QUERENT_VULKAN, where
 * `scripts/install-webgpu.sh` put and tried it. Everything runs in processes of their own, on the built packages: a driver that fails
 * takes its process down, and not the other tests.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deserialize, serialize } from 'node:v8';
import { float32, int64 } from '@querent/core';
import type { Graph, TensorData } from '@querent/core';
import { createGraph, interpret, ints, matMul, tanh, writeOnnx } from '@querent/graph';
import { describe, expect, test } from 'vitest';
import { asFloat32 } from '../../packages/graph/test/gradient-cases.ts';
import { OPERATOR_CASES, graphOf } from '../../packages/graph/test/operator-cases.ts';
import type { OperatorCase } from '../../packages/graph/test/operator-cases.ts';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const BIN = path('../../packages/cli/dist/bin.js');
const ENGINES = ['onnxruntime:webgpu', 'tfjs:webgpu'] as const;
/** Against float64. WGSL asks of sine and cosine no more than 2^-11, and SwiftShader gives no more. */
const TOLERANCE = 1e-5;
const TRIGONOMETRY = 2 ** -11;
const MINUTES = 600_000;

/** Rows of which all is masked with the least float32 stay uniform. */
const MASKED: OperatorCase = { op: 'Softmax', inputs: [float32([2, 3], [-3.4028234663852886e38, -3.4028234663852886e38, -3.4028234663852886e38, 1, 2, -3.4028234663852886e38])] };
/** Integers have a transpose of their own on TensorFlow.js's backend. */
const TURNED: OperatorCase = { op: 'Transpose', inputs: [int64([2, 3, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 2 ** 30 + 1])], attributes: { perm: ints([1, 2, 0]) } };

const VULKAN = process.env['QUERENT_VULKAN'];
const DRIVER = VULKAN === undefined ? undefined : join(VULKAN, 'vk_swiftshader_icd.json');
const ENVIRONMENT = VULKAN === undefined || DRIVER === undefined ? process.env : { ...process.env, VK_DRIVER_FILES: DRIVER, VK_ICD_FILENAMES: DRIVER, LD_LIBRARY_PATH: VULKAN };

interface Ran {
  readonly code: number | string | null;
  readonly stdout: string;
  readonly stderr: string;
}

function node(...args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { maxBuffer: 2 ** 26, env: ENVIRONMENT }, (error, stdout, stderr) => resolve({ code: error === null ? 0 : (error.code ?? error.signal ?? null), stdout, stderr }));
  });
}

/** What `webgpu-graphs.mjs` says of each graph: its outputs, or the error. */
type Answer = { readonly outputs: Readonly<Record<string, TensorData>>; readonly left: number } | { readonly error: string; readonly code?: string };

async function runGraphs(engine: string, cases: readonly { readonly onnx: Uint8Array; readonly feeds: Readonly<Record<string, TensorData>> }[]): Promise<readonly Answer[]> {
  const folder = await mkdtemp(join(tmpdir(), 'querent-webgpu-'));
  try {
    const [question, answer] = [join(folder, 'question'), join(folder, 'answer')];
    await writeFile(question, serialize(cases));
    const { code, stderr } = await node(path('webgpu-graphs.mjs'), engine, question, answer);
    if (code !== 0) throw new Error(`${engine} ended with ${code}: ${stderr.slice(-2000)}`);
    return deserialize(await readFile(answer)) as readonly Answer[]; // what it wrote
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Why the engine does not work here; undefined when it does. */
async function reasonAgainst(engine: string): Promise<string | undefined> {
  const g = createGraph('webgpu');
  const x = g.input('x', 'float32', [2, 2]);
  g.output('y', tanh(matMul(x, x)));
  const [answer] = await runGraphs(engine, [{ onnx: writeOnnx(g.graph), feeds: { x: float32([2, 2], [0.5, 0.25, -0.5, 1]) } }]);
  if (answer === undefined || 'error' in answer) {
    if (answer?.code !== 'QRT_ENGINE_PROVIDER') throw new Error(`${engine}: ${answer?.error}`);
    return answer.error.split('\n')[0];
  }
  [0.125, 0.375, -0.75, 0.875].forEach((value, i) => expect(Number(answer.outputs['y']!.data[i])).toBeCloseTo(Math.tanh(value), 4));
  return undefined;
}

const reasons = new Map<string, string | undefined>();
for (const engine of ENGINES) {
  const reason = await reasonAgainst(engine);
  reasons.set(engine, reason);
  if (reason !== undefined) process.stderr.write(`\nWEBGPU IS NOT TESTED ON ${engine}: ${reason}\n`);
}

/** The script has seen Dawn compute: then it does so for us too. */
test.runIf(VULKAN !== undefined).each(ENGINES)('%s works where a software Vulkan was installed', (engine) => {
  expect(reasons.get(engine)).toBe(undefined);
});

describe.each(ENGINES)('%s', (engine) => {
  const there = test.skipIf(reasons.get(engine) !== undefined);

  there('computes every operator as float64 loops do', async () => {
    const cases = [...OPERATOR_CASES, MASKED, TURNED].map((sample, n) => ({ label: `${n} ${sample.op}`, op: sample.op, ...graphOf(sample) }));
    const fed = (graph: Graph, feeds: Readonly<Record<string, TensorData>>): Record<string, TensorData> => Object.fromEntries(graph.inputs.map(({ name }) => [name, asFloat32(feeds[name]!)]));
    const answers = await runGraphs(engine, cases.map(({ graph, feeds }) => ({ onnx: writeOnnx(graph), feeds: fed(graph, feeds) })));
    const wrong = cases.flatMap(({ label, op, graph, feeds }, n) => {
      const answer = answers[n]!; // one each
      if ('error' in answer) return [`${label}: ${answer.error}`];
      if (answer.left !== 0) return [`${label} left ${answer.left} tensors behind`];
      const tolerance = op === 'Sin' || op === 'Cos' ? TRIGONOMETRY : TOLERANCE;
      return [...interpret(graph, feeds, new Map())].flatMap(([name, { shape, data }]) => {
        const actual = answer.outputs[name]!;
        if (String(actual.shape) !== String(shape)) return [`${label}: ${name} is [${actual.shape.join(', ')}]; expected [${shape.join(', ')}]`];
        const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
        const differences = Array.from(data, (value, i) => Math.abs(Number(actual.data[i]) - value));
        const worst = differences.reduce((most, difference) => (Number.isNaN(difference) ? Infinity : Math.max(most, difference)), 0);
        return worst / largest <= tolerance ? [] : [`${label}: ${name} differs by ${worst / largest}`];
      });
    });
    expect(wrong).toEqual([]);
  }, MINUTES);

  there.each(['vision-vit', 'llm-gpt2'])('verifies the fixture %s', async (name) => {
    const { code, stdout, stderr } = await node(BIN, 'verify', path(`../goldens/v1/${name}`), '--engine', engine, '--json');
    expect(code, stderr).toBe(0); // a driver may warn
    expect(JSON.parse(stdout)).toMatchObject({ isWithin: true });
  }, MINUTES);

  there('trains: a step of stage 1 gives the loss that the processor gives', async () => {
    const lossOn = async (on: string): Promise<number> => {
      const { code, stdout, stderr } = await node(BIN, 'bench', 'engines', '--engine', on, '--steps', '1', '--json');
      expect(code, stderr).toBe(0); // a driver may warn
      return (JSON.parse(stdout) as { readonly lastLoss: number }).lastLoss; // the command's own output
    };
    const [here, there] = [await lossOn(engine), await lossOn('onnxruntime:cpu')];
    expect(Math.abs(here - there) / there).toBeLessThanOrEqual(1e-3);
  }, MINUTES);

  there('captions a photograph as the processor does', async () => {
    const captionOn = async (on: string): Promise<string> => {
      const { code, stdout, stderr } = await node(BIN, 'caption', path('../photos/cat.jpg'), '--engine', on, '--max-new-tokens', '8', '--json');
      expect(code, stderr).toBe(0); // a driver may warn
      return (JSON.parse(stdout) as { readonly text: string }).text; // the command's own output
    };
    expect(await captionOn(engine)).toEqual(await captionOn('onnxruntime:cpu'));
  }, MINUTES);
});
