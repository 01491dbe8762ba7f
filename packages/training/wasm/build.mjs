// Assembles AdamW's inner loop and writes it into ../src/adamw-kernel.ts: `pnpm run wasm` in this package.
// The text below is the source; the TypeScript file holds its bytes.
//
// Four elements at a time, in float32 as torch's: p, m, v and g are byte addresses of as many floats each, `end` is where p ends. What lies
// between the last element and the next multiple of four is computed too and means nothing.
import wabt from 'wabt';
import { kernelFile, writeKernel } from '../../../scripts/wasm-kernel.mjs';

const numbers = ['beta1', 'rest1', 'beta2', 'rest2', 'keep', 'size', 'correction', 'epsilon'];
const pointers = ['p', 'm', 'v', 'g'];

const source = `(module
(memory (export "memory") 1)

(func (export "step") ${pointers.map((name) => `(param $${name} i32)`).join(' ')} (param $end i32)
  ${numbers.map((name) => `(param $${name} f32)`).join(' ')}
  ${numbers.map((name) => `(local $${name}4 v128)`).join(' ')}
  (local $grad v128) (local $first v128) (local $second v128)
  ${numbers.map((name) => `(local.set $${name}4 (f32x4.splat (local.get $${name})))`).join('\n  ')}
  (loop $four
    (local.set $grad (v128.load (local.get $g)))
    (local.set $first (f32x4.add
      (f32x4.mul (local.get $beta14) (v128.load (local.get $m)))
      (f32x4.mul (local.get $rest14) (local.get $grad))))
    (local.set $second (f32x4.add
      (f32x4.mul (local.get $beta24) (v128.load (local.get $v)))
      (f32x4.mul (f32x4.mul (local.get $rest24) (local.get $grad)) (local.get $grad))))
    (v128.store (local.get $m) (local.get $first))
    (v128.store (local.get $v) (local.get $second))
    (v128.store (local.get $p) (f32x4.sub
      (f32x4.mul (v128.load (local.get $p)) (local.get $keep4))
      (f32x4.div
        (f32x4.mul (local.get $size4) (local.get $first))
        (f32x4.add (f32x4.mul (f32x4.sqrt (local.get $second)) (local.get $correction4)) (local.get $epsilon4)))))
    ${pointers.map((name) => `(local.set $${name} (i32.add (local.get $${name}) (i32.const 16)))`).join('\n    ')}
    (br_if $four (i32.lt_u (local.get $p) (local.get $end)))))
)`;

/** The TypeScript file that holds the assembled bytes. */
export const assemble = () => kernelFile(wabt, { source, of: "AdamW's", constant: 'ADAMW_KERNEL' });

await writeKernel(import.meta.url, '../src/adamw-kernel.ts', assemble);
