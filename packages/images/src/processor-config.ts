/**
 * `preprocessor_config.json` as HuggingFace writes it for CLIP, BLIP, ViT, SigLIP, DINOv2 (`BitImageProcessor`) and
 * EfficientNet, its JSON Schema, and what it means once the defaults of each class are filled in.
 */
import { QuerentError } from '@querent/core';
import type { Filter } from './resample-coefficients.ts';

/** A number for both sides, or each by name. `shortest_edge` keeps the proportions. */
export type ImageSize =
  | number
  | { readonly height: number; readonly width: number }
  | { readonly shortest_edge: number };

/** The keys that matter here; files carry others, which are ignored. */
export interface PreprocessorConfig {
  readonly image_processor_type?: string;
  readonly feature_extractor_type?: string;
  readonly do_convert_rgb?: boolean | null;
  readonly do_resize?: boolean | null;
  readonly size?: ImageSize;
  /** Pillow's number: 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming. */
  readonly resample?: number;
  readonly do_center_crop?: boolean | null;
  readonly crop_size?: ImageSize | null;
  readonly do_rescale?: boolean | null;
  readonly rescale_factor?: number;
  /** EfficientNet: subtract one after rescaling, for pixels in [-1, 1]. */
  readonly rescale_offset?: boolean | null;
  readonly do_normalize?: boolean | null;
  readonly image_mean?: number | readonly number[];
  readonly image_std?: number | readonly number[];
  /** EfficientNet with its classifier: divide by `image_std` once more. */
  readonly include_top?: boolean | null;
}

const SIDE = { type: 'integer', minimum: 1, maximum: 16_384 } as const;
const SIZE = (description: string): object => ({
  description,
  anyOf: [
    SIDE,
    { type: 'object', properties: { height: SIDE, width: SIDE }, required: ['height', 'width'] },
    { type: 'object', properties: { shortest_edge: SIDE }, required: ['shortest_edge'] },
  ],
});
const FLAG = (description: string): object => ({ description, type: ['boolean', 'null'] });
const CHANNELS = (description: string): object => ({
  description,
  anyOf: [{ type: 'number' }, { type: 'array', items: { type: 'number' }, minItems: 3, maxItems: 3 }],
});

/** JSON Schema of {@link PreprocessorConfig}; tolerant of foreign keys, as HF files have them. */
export const preprocessorConfigSchema: Readonly<Record<string, unknown>> = {
  $id: 'https://querent.dev/schema/preprocessor_config.json',
  title: 'preprocessor_config.json',
  description: 'How a picture becomes the numbers that an image encoder reads.',
  type: 'object',
  properties: {
    image_processor_type: { type: 'string', description: 'The HuggingFace class; picks defaults for missing keys.' },
    feature_extractor_type: { type: 'string', description: 'The older name of image_processor_type.' },
    do_convert_rgb: FLAG('Ignored: pictures are always RGB here.'),
    do_resize: FLAG('Resize to `size` first.'),
    size: SIZE('Target of the resize: both sides, or the shortest edge with the proportions kept.'),
    resample: { type: 'integer', minimum: 0, maximum: 5, description: "Pillow's filter: 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming." },
    do_center_crop: FLAG('Cut `crop_size` out of the middle after resizing.'),
    crop_size: { ...SIZE('Size of the centre crop.'), anyOf: [SIDE, { type: 'object', properties: { height: SIDE, width: SIDE }, required: ['height', 'width'] }, { type: 'null' }] },
    do_rescale: FLAG('Multiply pixels by `rescale_factor`.'),
    rescale_factor: { type: 'number', description: '1/255 brings pixels to [0, 1].' },
    rescale_offset: FLAG('Subtract one after rescaling.'),
    do_normalize: FLAG('Subtract `image_mean`, divide by `image_std`.'),
    image_mean: CHANNELS('Mean of red, green and blue.'),
    image_std: CHANNELS('Standard deviation of red, green and blue; none may be 0.'),
    include_top: FLAG('Divide by `image_std` a second time (EfficientNet).'),
  },
};

export interface Side {
  readonly width: number;
  readonly height: number;
}

/** A config with every default decided. */
export interface ProcessorPlan {
  readonly resize: { readonly to: Side | { readonly shortestEdge: number }; readonly filter: Filter } | undefined;
  readonly crop: Side | undefined;
  /** Size of what comes out. */
  readonly output: Side;
  /** float32 value of each of the 256 pixel levels, for red, green and blue. */
  readonly levels: readonly [Float32Array, Float32Array, Float32Array];
}

const FILTERS: readonly Filter[] = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'];

/** Classes whose plain number `size` means the shortest edge, and that crop unless told not to. */
const CROPPING = /^(Chinese)?CLIP|^Bit|^OwlViT/;
/** Classes that resample bilinearly unless told otherwise. */
const BILINEAR = /^(ViT|DeiT|Beit)/;

/**
 * Fills in the defaults of the config's class and checks its numbers.
 * @throws QuerentError QRT_CONFIG_INVALID with the key, when a value is missing, unusable or leaves the output size open.
 */
export function planProcessor(config: PreprocessorConfig): ProcessorPlan {
  if (typeof config !== 'object' || config === null) throw invalid('', config, 'an object');
  const type = config.image_processor_type ?? config.feature_extractor_type ?? '';
  const isCropped = config.do_center_crop ?? CROPPING.test(type);
  const isResized = config.do_resize ?? true;
  let to: Side | { readonly shortestEdge: number } | undefined;
  if (isResized) to = readSize(config.size, CROPPING.test(type) || (type === '' && isCropped));
  const resample = config.resample ?? (type.startsWith('EfficientNet') ? 0 : BILINEAR.test(type) ? 2 : 3);
  const filter = FILTERS[resample];
  if (filter === undefined) throw invalid('resample', resample, 'an integer from 0 to 5');
  const cut = isCropped ? readSize(config.crop_size ?? undefined, false, 'crop_size') : undefined;
  if (cut && 'shortestEdge' in cut) throw invalid('crop_size', config.crop_size, 'a number or { height, width }');
  const output = cut ?? (to && 'width' in to ? to : undefined);
  if (!output) {
    throw invalid(to ? 'do_center_crop' : 'do_resize', to ? config.do_center_crop : config.do_resize,
      'a config whose output has one size: `size` { height, width }, or a centre crop');
  }
  return { resize: to ? { to, filter } : undefined, crop: cut, output, levels: levelTables(config) };
}

function levelTables(config: PreprocessorConfig): ProcessorPlan['levels'] {
  const factor = (config.do_rescale ?? true) ? (config.rescale_factor ?? 1 / 255) : 1;
  if (!Number.isFinite(factor)) throw invalid('rescale_factor', factor, 'a finite number');
  const offset = config.rescale_offset ? 1 : 0;
  const isNormalised = config.do_normalize ?? true;
  const mean = isNormalised ? readChannels('image_mean', config.image_mean) : [0, 0, 0];
  const std = isNormalised ? readChannels('image_std', config.image_std) : [1, 1, 1];
  if (std.includes(0)) throw invalid('image_std', config.image_std, 'numbers other than 0');
  const table = (channel: 0 | 1 | 2): Float32Array =>
    Float32Array.from({ length: 256 }, (_, level) => {
      const value = (level * factor - offset - mean[channel]!) / std[channel]!;
      return config.include_top ? value / std[channel]! : value;
    });
  return [table(0), table(1), table(2)];
}

function readChannels(key: 'image_mean' | 'image_std', value: number | readonly number[] | undefined): readonly number[] {
  const channels = typeof value === 'number' ? [value, value, value] : value;
  if (!Array.isArray(channels) || channels.length !== 3 || !channels.every(Number.isFinite)) {
    throw invalid(key, value, 'three numbers, one for each of red, green and blue');
  }
  return channels;
}

function readSize(size: ImageSize | undefined, isEdge: boolean, key = 'size'): Side | { readonly shortestEdge: number } {
  if (typeof size === 'number') {
    const side = readSide(key, size);
    return isEdge ? { shortestEdge: side } : { width: side, height: side };
  }
  if (typeof size === 'object' && size !== null) {
    if ('shortest_edge' in size) return { shortestEdge: readSide(`${key}/shortest_edge`, size.shortest_edge) };
    if ('height' in size && 'width' in size) {
      return { width: readSide(`${key}/width`, size.width), height: readSide(`${key}/height`, size.height) };
    }
  }
  throw invalid(key, size, 'a number, { height, width } or { shortest_edge }');
}

function readSide(key: string, value: unknown): number {
  const { minimum, maximum } = SIDE;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < minimum || value > maximum) {
    throw invalid(key, value, `an integer from ${minimum} to ${maximum}`);
  }
  return value;
}

function invalid(key: string, value: unknown, expected: string): QuerentError {
  return new QuerentError('QRT_CONFIG_INVALID', `preprocessor_config.json: /${key} is ${JSON.stringify(value) ?? 'missing'}; ${expected} was expected.`, {
    fix: 'Take preprocessor_config.json from the folder that the encoder came from.',
    details: { pointer: `/${key}`, value },
  });
}
