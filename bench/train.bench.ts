/**
 * One training step of stage 1 against PyTorch's, by default on two threads: see packages/training/src/bench-train.ts.
 *
 *     npx vitest bench --run bench/train.bench.ts                      SHAPE=mini for the demonstration model, THREADS=1
 *     PYTHON=python3 npx vitest bench --run bench/train.bench.ts       also runs PyTorch (bench/peer_train.py), if that Python has torch
 */
import { fileURLToPath } from 'node:url';
import { createOnnxEngine } from '@querent/engine-onnx';
import { qformerPlugin } from '@querent/qformer';
import { benchTrain } from '@querent/training';
import { bench } from 'vitest';

const threads = Number(process.env['THREADS'] ?? 2);
const python = process.env['PYTHON'];

bench(
  'stage 1',
  async () => {
    await using engine = createOnnxEngine({ threads });
    const result = await benchTrain({
      engine,
      threads,
      bridge: qformerPlugin,
      shape: process.env['SHAPE'] === 'mini' ? 'mini' : 'base',
      ...(python === undefined ? {} : { peer: { python, script: fileURLToPath(new URL('peer_train.py', import.meta.url)) } }),
    });
    console.log(JSON.stringify(result));
  },
  { iterations: 1, time: 0, warmupIterations: 0, warmupTime: 0 },
);
