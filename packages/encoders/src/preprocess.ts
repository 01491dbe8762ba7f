/** How the published encoders want their pixels: HF's image processors as values. */
import type { PreprocessorConfig } from '@querent/core';

type Channels = readonly [red: number, green: number, blue: number];

/** OpenAI CLIP's; BLIP and EVA-CLIP took them over. */
export const CLIP_MEAN: Channels = [0.48145466, 0.4578275, 0.40821073];
export const CLIP_STD: Channels = [0.26862954, 0.26130258, 0.27577711];

/** Of ImageNet's training pictures. */
export const IMAGENET_MEAN: Channels = [0.485, 0.456, 0.406];
export const IMAGENET_STD: Channels = [0.229, 0.224, 0.225];

/** Pillow's numbers of two filters. */
export const BILINEAR = 2;
export const BICUBIC = 3;

/** Squashed to a square of `size` pixels. */
export function squash(size: number, resample: number, mean: Channels, std: Channels): PreprocessorConfig {
  return {
    do_resize: true,
    size: { height: size, width: size },
    resample,
    do_center_crop: false,
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: mean,
    image_std: std,
    do_convert_rgb: true,
  };
}

/** The shortest edge to `edge` pixels, bicubic, then the middle square of `size` pixels. */
export function shortestEdgeCrop(edge: number, size: number, mean: Channels, std: Channels): PreprocessorConfig {
  return { ...squash(size, BICUBIC, mean, std), size: { shortest_edge: edge }, do_center_crop: true, crop_size: { height: size, width: size } };
}
