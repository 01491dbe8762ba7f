// From the text of a kernel to the TypeScript file that holds its bytes: what `wasm/build.mjs` of a package is made of.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * The text of the TypeScript file.
 *
 * @param wabt the package's own assembler
 * @param kernel `source` in WebAssembly's text format, `of` whose kernel it is, for the comment, `constant` what the file exports
 */
export async function kernelFile(wabt, { source, of, constant }) {
  const { parseWat } = await wabt();
  const module = parseWat('kernel.wat', source, { simd: true });
  module.validate();
  const base64 = Buffer.from(module.toBinary({}).buffer).toString('base64');
  const lines = base64.match(/.{1,116}/g).map((line) => `  '${line}'`).join(' +\n');
  return `/** Bytes of ${of} WebAssembly, base64. Written by \`wasm/build.mjs\`, which holds the source: edit that. */\nexport const ${constant}: string =\n${lines};\n`;
}

/** Writes the file when the script is the program that runs. */
export async function writeKernel(script, file, assemble) {
  if (process.argv[1] === fileURLToPath(script)) writeFileSync(fileURLToPath(new URL(file, script)), await assemble());
}
