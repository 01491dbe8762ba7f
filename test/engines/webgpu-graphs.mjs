/**
 * Runs graphs on an engine, in a process of its own and on the built packages: `node webgpu-graphs.mjs ENGINE QUESTION ANSWER`, both of them
 * files of `v8.serialize`. The question is a list of ONNX models with feeds; the answer has outputs or an error for each.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import { createRegistry } from '@querent/core';
import { onnxruntime } from '@querent/engine-onnx';
import { tfjs } from '@querent/engine-tfjs';
import { readOnnx } from '@querent/graph';

const [name, question, answer] = process.argv.slice(2);
const [plugin, backend] = name.split(':');
const registry = createRegistry([onnxruntime, tfjs]);

const failed = (error) => ({ error: `${error.message}${error.fix === undefined ? '' : ` ${error.fix}`}`, code: error.code });

async function runOne(engine, { onnx, feeds }) {
  const held = () => engine.choice?.backend.tf.memory().numTensors ?? 0;
  const before = held();
  try {
    const { graph, parameters } = readOnnx(onnx);
    const executable = await engine.compile(graph, parameters);
    try {
      const outputs = await executable.run(feeds);
      await executable[Symbol.asyncDispose]();
      return { outputs, left: held() - before };
    } finally {
      await executable[Symbol.asyncDispose]();
    }
  } catch (error) {
    return failed(error);
  }
}

const answers = [];
try {
  const engine = await registry.get('engine', plugin).create({ backend, inPlace: true });
  for (const each of deserialize(readFileSync(question))) answers.push(await runOne(engine, each));
  await engine[Symbol.asyncDispose]();
} catch (error) {
  answers.push(failed(error));
}
writeFileSync(answer, serialize(answers));
