/**
 * A new task: alternative texts for the images of a web page that have none.
 *
 *     querent alt-text page.html --plugin ./examples/alt-text.mjs > with-alt.html
 *
 * What it takes and gives are two JSON Schemas: the command's options come from the first, `run` knows its types from both.
 */
import { isAbsolute, join } from 'node:path';
import { defineTask } from '@querent/core';

/** An image element without an `alt`; an empty one says that the image is decoration, and is left alone. */
const WITHOUT_ALT = /<img\b(?![^>]*\salt\s*=)[^>]*>/gi;
const SOURCE = /\ssrc\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))/i;

export default defineTask({
  name: 'alt-text',
  description: 'Writes the alternative texts that the images of a web page lack.',
  input: {
    type: 'object',
    properties: {
      html: { type: 'string', contentMediaType: 'text/html', description: 'The page.' }, // on the command line: a file
      base: { type: 'string', description: 'Folder that relative image paths start from; the page’s own.' },
      prompt: { type: 'string', description: 'How each text begins.' },
    },
    required: ['html'],
    additionalProperties: false,
  },
  output: {
    type: 'object',
    properties: { html: { type: 'string', description: 'The page with its texts.' } },
    required: ['html'],
  },
  requires: ['encode', 'bridge', 'generate'],

  async *run({ html, base = '.', prompt }, { model, signal }) {
    signal.throwIfAborted();
    const begins = prompt ?? model.prompts?.caption ?? ''; // as this model was trained to be asked
    const texts = new Map(); // an image that stands twice is read once
    for (const [element] of html.matchAll(WITHOUT_ALT)) {
      const source = sourceOf(element);
      if (source !== undefined && !texts.has(source)) texts.set(source, await describe(model, imageAt(source, base), begins, signal));
    }
    yield { html: html.replace(WITHOUT_ALT, (element) => withAlt(element, texts.get(sourceOf(element)))) };
  },
});

/** One image → one sentence; undefined for a file that is no photograph. */
async function describe(model, image, prompt, signal) {
  try {
    const features = await model.encode([await model.prepare(image, { signal })], { signal });
    for await (const event of model.generate(await model.bridge(features, { signal }), { prompt, maxNewTokens: 30, signal })) {
      if (event.type === 'text') return event.text;
    }
  } catch (error) {
    if (error.code !== 'QRT_IMAGE' && error.code !== 'QRT_FILE') throw error;
  }
  return undefined;
}

function sourceOf(element) {
  const [, double, single, bare] = SOURCE.exec(element) ?? [];
  return double ?? single ?? bare;
}

function imageAt(source, base) {
  return /^(https?|data|file):/i.test(source) || isAbsolute(source) ? source : join(base, decodeURIComponent(source));
}

function withAlt(element, text) {
  if (text === undefined) return element;
  const escaped = text.replace(/&/g, '&amp;').replace(/"/g, '&quot;').replace(/</g, '&lt;');
  return element.replace(/\s*\/?>$/, (end) => ` alt="${escaped}"${end}`);
}
