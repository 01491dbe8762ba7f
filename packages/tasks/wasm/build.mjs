// Assembles the inner loop of a search and writes it into ../src/index-store/scan-kernel.ts: `pnpm run wasm` in this package.
// The text below is the source; the TypeScript file holds its bytes.
//
// For each image: the dot products of its int8 vectors with an int16 query, each times the vector's scale; their largest and
// their sum are stored. i32x4.dot_i16x8_s multiplies eight pairs and adds them in twos: with |query| <= 8191 and unit vectors
// no lane can overflow (Cauchy-Schwarz: |sum| <= 127 * 8191 * sqrt(n) stays below 2^31 for n < 4,000,000).
import wabt from 'wabt';
import { kernelFile, writeKernel } from '../../../scripts/wasm-kernel.mjs';

const source = `(module
  (memory (export "memory") 1)
  (func (export "scan")
    (param $vectors i32) (param $scales i32) (param $query i32) (param $step i32)
    (param $images i32) (param $queries i32) (param $blocks i32) (param $largest i32) (param $sums i32)
    (local $image i32) (local $q i32) (local $b i32) (local $at i32) (local $base i32)
    (local $best f32) (local $sum f32) (local $cosine f32)
    (local $v v128) (local $low v128) (local $high v128)
    (block $none
    (br_if $none (i32.eqz (local.get $images)))
    (loop $each-image
      (local.set $best (f32.const -inf))
      (local.set $sum (f32.const 0))
      (local.set $base (local.get $query))
      (local.set $q (i32.const 0))
      (loop $each-query
        (local.set $low (v128.const i32x4 0 0 0 0))
        (local.set $high (v128.const i32x4 0 0 0 0))
        (local.set $at (local.get $base))
        (local.set $b (i32.const 0))
        (loop $each-block
          (local.set $v (v128.load (local.get $vectors)))
          (local.set $low (i32x4.add (local.get $low) (i32x4.dot_i16x8_s (i16x8.extend_low_i8x16_s (local.get $v)) (v128.load (local.get $at)))))
          (local.set $high (i32x4.add (local.get $high) (i32x4.dot_i16x8_s (i16x8.extend_high_i8x16_s (local.get $v)) (v128.load offset=16 (local.get $at)))))
          (local.set $vectors (i32.add (local.get $vectors) (i32.const 16)))
          (local.set $at (i32.add (local.get $at) (i32.const 32)))
          (br_if $each-block (i32.lt_u (local.tee $b (i32.add (local.get $b) (i32.const 1))) (local.get $blocks))))
        (local.set $low (i32x4.add (local.get $low) (local.get $high)))
        (local.set $cosine (f32.mul (f32.load (local.get $scales)) (f32.convert_i32_s
          (i32.add (i32.add (i32x4.extract_lane 0 (local.get $low)) (i32x4.extract_lane 1 (local.get $low)))
                   (i32.add (i32x4.extract_lane 2 (local.get $low)) (i32x4.extract_lane 3 (local.get $low)))))))
        (local.set $best (f32.max (local.get $best) (local.get $cosine)))
        (local.set $sum (f32.add (local.get $sum) (local.get $cosine)))
        (local.set $scales (i32.add (local.get $scales) (i32.const 4)))
        (local.set $base (i32.add (local.get $base) (local.get $step)))
        (br_if $each-query (i32.lt_u (local.tee $q (i32.add (local.get $q) (i32.const 1))) (local.get $queries))))
      (f32.store (local.get $largest) (local.get $best))
      (f32.store (local.get $sums) (local.get $sum))
      (local.set $largest (i32.add (local.get $largest) (i32.const 4)))
      (local.set $sums (i32.add (local.get $sums) (i32.const 4)))
      (br_if $each-image (i32.lt_u (local.tee $image (i32.add (local.get $image) (i32.const 1))) (local.get $images))))))
)`;

/** The TypeScript file that holds the assembled bytes. */
export const assemble = () => kernelFile(wabt, { source, of: "the search's", constant: 'SCAN_KERNEL' });

await writeKernel(import.meta.url, '../src/index-store/scan-kernel.ts', assemble);
