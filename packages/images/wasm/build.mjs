// Assembles the resampler's inner loops and writes them into ../src/resample-kernel.ts: `pnpm run wasm` in this package.
// The text below is the source; the TypeScript file holds its bytes.
//
// A weight k (22-bit fixed point) is split as k = hi * 2048 + lo, so that both halves fit 16 bits and the widest
// multiply-add (i32x4.dot_i16x8_s: two products and their sum in each lane) takes two taps at a time. All sums are modulo
// 2^32, hence (hi sum << 11) + lo sum is exactly the 32-bit sum of pixel * k.
//
// Tables: `bounds` holds for each output position the byte where its taps start and its number of tap pairs (2 x i32);
// `weights` holds for each position `pairs` times (hi0, hi1, lo0, lo1) (4 x i16).
import wabt from 'wabt';
import { kernelFile, writeKernel } from '../../../scripts/wasm-kernel.mjs';

const lanes = (n) => Array.from({ length: n }, (_, i) => i);
const each = (n, line) => lanes(n).map(line).join('\n');

/** Sums to bytes: round (the half is added first), shift, clip to 0..255 in two narrowing steps. */
const finish = (hi, lo) =>
  `(i32x4.shr_s (i32x4.add (i32x4.add (i32x4.shl (local.get ${hi}) (i32.const 11)) (local.get ${lo})) (v128.const i32x4 2097152 2097152 2097152 2097152)) (i32.const 22))`;

const add = (sum, x, weights) => `(local.set ${sum} (i32x4.add (local.get ${sum}) (i32x4.dot_i16x8_s ${x} (local.get ${weights}))))`;

const source = `(module
(memory (export "memory") 1)

;; Four rows at a time: [rows, *, 3] at src, rows 'stride' bytes apart, to [rows, width, 3] at dst. rows is a multiple of 4.
(func (export "horizontal") (param $src i32) (param $stride i32) (param $rows i32) (param $dst i32) (param $width i32)
  (param $bounds i32) (param $weights i32) (param $pairs i32)
  (local $y i32) (local $x i32) (local $w i32) (local $row i32) (local $end i32) (local $bound i32) (local $out i32)
  ${each(4, (i) => `(local $p${i} i32) (local $h${i} v128) (local $l${i} v128)`)}
  (local $hi v128) (local $lo v128) (local $v v128)
  (loop $rowsLoop
    (local.set $x (i32.const 0))
    (local.set $bound (local.get $bounds))
    (local.set $row (local.get $weights))
    (local.set $out (local.get $dst))
    (loop $columns
      (local.set $p0 (i32.add (local.get $src) (i32.load (local.get $bound))))
      ${each(3, (i) => `(local.set $p${i + 1} (i32.add (local.get $p${i}) (local.get $stride)))`)}
      (local.set $w (local.get $row))
      (local.set $end (i32.add (local.get $row) (i32.shl (i32.load offset=4 (local.get $bound)) (i32.const 3))))
      ${each(4, (i) => `(local.set $h${i} (v128.const i32x4 0 0 0 0)) (local.set $l${i} (v128.const i32x4 0 0 0 0))`)}
      (loop $taps
        (local.set $hi (v128.load32_splat (local.get $w)))
        (local.set $lo (v128.load32_splat offset=4 (local.get $w)))
        ${each(4, (i) => `
        ;; r0 g0 b0 r1 g1 b1 as 16-bit lanes r0 r1 g0 g1 b0 b1 0 0
        (local.set $v (i8x16.swizzle (v128.load64_zero (local.get $p${i})) (v128.const i8x16 0 -1 3 -1 1 -1 4 -1 2 -1 5 -1 -1 -1 -1 -1)))
        ${add(`$h${i}`, '(local.get $v)', '$hi')}
        ${add(`$l${i}`, '(local.get $v)', '$lo')}
        (local.set $p${i} (i32.add (local.get $p${i}) (i32.const 6)))`)}
        (br_if $taps (i32.lt_u (local.tee $w (i32.add (local.get $w) (i32.const 8))) (local.get $end))))
      ;; All four pixels in one vector: bytes 0-2, 4-6, 8-10, 12-14.
      (local.set $v (i8x16.narrow_i16x8_u
        (i16x8.narrow_i32x4_s ${finish('$h0', '$l0')} ${finish('$h1', '$l1')})
        (i16x8.narrow_i32x4_s ${finish('$h2', '$l2')} ${finish('$h3', '$l3')})))
      (local.set $w (local.get $out))
      ${each(4, (i) => `(v128.store16_lane ${i * 2} (local.get $w) (local.get $v)) (v128.store8_lane offset=2 ${i * 4 + 2} (local.get $w) (local.get $v))
      (local.set $w (i32.add (local.get $w) (i32.mul (local.get $width) (i32.const 3))))`)}
      (local.set $out (i32.add (local.get $out) (i32.const 3)))
      (local.set $bound (i32.add (local.get $bound) (i32.const 8)))
      (local.set $row (i32.add (local.get $row) (i32.shl (local.get $pairs) (i32.const 3))))
      (br_if $columns (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 1))) (local.get $width))))
    (local.set $src (i32.add (local.get $src) (i32.shl (local.get $stride) (i32.const 2))))
    (local.set $dst (i32.add (local.get $dst) (i32.mul (local.get $width) (i32.const 12))))
    (br_if $rowsLoop (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 4))) (local.get $rows)))))

;; Sixteen bytes at a time: rows of 'stride' bytes at src to 'height' rows at dst. Runs up to 15 bytes past the last row.
(func (export "vertical") (param $src i32) (param $stride i32) (param $height i32) (param $dst i32)
  (param $bounds i32) (param $weights i32) (param $pairs i32)
  (local $y i32) (local $x i32) (local $p i32) (local $w i32) (local $end i32)
  ${each(4, (i) => `(local $h${i} v128) (local $l${i} v128)`)}
  (local $hi v128) (local $lo v128) (local $v v128) (local $a v128) (local $b v128)
  (loop $rows
    (local.set $x (i32.const 0))
    (loop $columns
      (local.set $p (i32.add (i32.add (local.get $src) (local.get $x)) (i32.load (local.get $bounds))))
      (local.set $w (local.get $weights))
      (local.set $end (i32.add (local.get $w) (i32.shl (i32.load offset=4 (local.get $bounds)) (i32.const 3))))
      ${each(4, (i) => `(local.set $h${i} (v128.const i32x4 0 0 0 0)) (local.set $l${i} (v128.const i32x4 0 0 0 0))`)}
      (loop $taps
        (local.set $hi (v128.load32_splat (local.get $w)))
        (local.set $lo (v128.load32_splat offset=4 (local.get $w)))
        (local.set $a (v128.load (local.get $p)))
        (local.set $p (i32.add (local.get $p) (local.get $stride)))
        (local.set $b (v128.load (local.get $p)))
        (local.set $p (i32.add (local.get $p) (local.get $stride)))
        ;; a0 b0 a1 b1 ...: the two rows' pixels side by side
        ${each(2, (half) => `
        (local.set $v (i8x16.shuffle ${lanes(8).map((i) => `${half * 8 + i} ${half * 8 + i + 16}`).join(' ')} (local.get $a) (local.get $b)))
        ${each(2, (part) => `
        ${add(`$h${half * 2 + part}`, `(i16x8.extend_${part ? 'high' : 'low'}_i8x16_u (local.get $v))`, '$hi')}
        ${add(`$l${half * 2 + part}`, `(i16x8.extend_${part ? 'high' : 'low'}_i8x16_u (local.get $v))`, '$lo')}`)}`)}
        (br_if $taps (i32.lt_u (local.tee $w (i32.add (local.get $w) (i32.const 8))) (local.get $end))))
      (v128.store (i32.add (local.get $dst) (local.get $x)) (i8x16.narrow_i16x8_u
        (i16x8.narrow_i32x4_s ${finish('$h0', '$l0')} ${finish('$h1', '$l1')})
        (i16x8.narrow_i32x4_s ${finish('$h2', '$l2')} ${finish('$h3', '$l3')})))
      (br_if $columns (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 16))) (local.get $stride))))
    (local.set $dst (i32.add (local.get $dst) (local.get $stride)))
    (local.set $bounds (i32.add (local.get $bounds) (i32.const 8)))
    (local.set $weights (i32.add (local.get $weights) (i32.shl (local.get $pairs) (i32.const 3))))
    (br_if $rows (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 1))) (local.get $height)))))
)`;

/** The TypeScript file that holds the assembled bytes. */
export const assemble = () => kernelFile(wabt, { source, of: "the resampler's", constant: 'RESAMPLE_KERNEL' });

await writeKernel(import.meta.url, '../src/resample-kernel.ts', assemble);
