/**
 * What 8-bit weights and activations would do to a convolutional encoder: querent-mini's on the sample photographs, each convolution's weights
 * rounded to 8 bits (a scale for each channel) and its input too (one scale for the tensor). Prints the least cosine of features and of
 * queries to those of float32, for several choices of convolutions. Run `npm run build` first.
 *
 *     node bench/convolutions.mjs
 */
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { GraphCopy, abs, createGraph, div, mul, op, op1, reduceMax } from '@querent/graph';
import { matchParameters, openModelFolder } from '@querent/hub';
import { createQuerent } from 'querent';

const root = fileURLToPath(new URL('..', import.meta.url));
const querent = await createQuerent({ inPlace: true });
const model = await querent.load(`${root}models/querent-mini`);
const engine = await querent.engine();
const { encoder, processor } = model.parts;
const { parameters: weights } = await openModelFolder(`${root}models/efficientnet-lite0`);
const plain = createGraph('plain');
const input = plain.input('pixel_values', 'float32', ['batch', 3, processor.height, processor.width]);
plain.output('features', encoder.plugin.build(plain, input, encoder.config).lastHiddenState);
const convolutions = plain.graph.nodes.filter(({ opType }) => opType === 'Conv');

/** The encoder with those convolutions rounded. */
function rounded(isRounded) {
  const copy = new GraphCopy(plain.graph);
  for (const node of plain.graph.nodes) {
    if (node.opType !== 'Conv' || !isRounded(convolutions.indexOf(node), node.attributes.group?.value ?? 1)) {
      copy.add(node);
      continue;
    }
    const [x, weight, ...others] = node.inputs.map((tensor) => tensor && copy.of(tensor));
    const quantised = op('DynamicQuantizeLinear', [x], { outputs: [{ dtype: 'uint8', shape: x.shape }, { dtype: 'float32', shape: [] }, { dtype: 'uint8', shape: [] }] });
    const scale = div(reduceMax(abs(weight), [1, 2, 3], true), 127);
    const steps = [op1('DequantizeLinear', quantised, { outputs: [{ dtype: 'float32', shape: x.shape }] }), mul(op1('Round', [div(weight, scale)], { outputs: [{ dtype: 'float32', shape: weight.shape }] }), scale)];
    copy.set(node.outputs[0], op1(node.opType, [...steps, ...others], { attributes: node.attributes, outputs: node.outputs }));
  }
  return copy.finish();
}

const photos = `${root}test/photos/`;
const pixels = [];
for (const name of readdirSync(photos).filter((each) => each.endsWith('.jpg'))) pixels.push(await model.prepare(photos + name));

async function seen(graph) {
  const executable = await engine.compile(graph, matchParameters(graph.parameters, weights, { file: 'efficientnet-lite0' }).parameters);
  const rows = [];
  for (const { shape, data } of pixels) {
    const { features } = await executable.run({ pixel_values: { dtype: 'float32', shape: [1, ...shape], data } });
    rows.push([features.data, (await model.bridge(features)).data]);
  }
  await executable[Symbol.asyncDispose]();
  return rows;
}

function cosine(a, b) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

const exact = await seen(plain.graph);
const last = convolutions.length - 1;
for (const [what, isRounded] of [
  ['all', () => true],
  ['all but depthwise', (_, groups) => groups === 1],
  ['1 × 1 of the last third', (at, groups) => groups === 1 && at > (2 * last) / 3],
  ['the last', (at) => at === last],
]) {
  const found = await seen(rounded(isRounded));
  const [features, queries] = [0, 1].map((which) => Math.min(...found.map((row, i) => cosine(exact[i][which], row[which]))));
  console.log(`${what.padEnd(24)} features ${features.toFixed(5)}  queries ${queries.toFixed(5)}`);
}
await querent.dispose();
