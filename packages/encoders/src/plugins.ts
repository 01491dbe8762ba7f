/** The encoders of this package: add one here. */
import type { DualEncoderFamily, EncoderPlugin } from '@querent/core';
import { clipFamily } from './clip.ts';
import blipVision from './blip-vision.ts';
import clipVision from './clip-vision.ts';
import dinov2 from './dinov2.ts';
import efficientNetLite from './efficientnet-lite.ts';
import eva, { instructBlipVision } from './eva.ts';
import onnxFile from './onnx-file.ts';
import { siglipFamily } from './siglip.ts';
import siglipVision from './siglip-vision.ts';
import vit from './vit.ts';

const plugins: readonly EncoderPlugin[] = [vit, eva, instructBlipVision, blipVision, clipVision, siglipVision, dinov2, efficientNetLite, onnxFile];
export default plugins;

/** Image and text towers that meet in one space. */
export const dualEncoders: readonly DualEncoderFamily[] = [clipFamily, siglipFamily];
