/** The encoders of this package: add one here. */
import type { EncoderPlugin } from '@querent/core';
import blipVision from './blip-vision.ts';
import efficientNetLite from './efficientnet-lite.ts';
import eva, { instructBlipVision } from './eva.ts';
import vit from './vit.ts';

const plugins: readonly EncoderPlugin[] = [vit, eva, instructBlipVision, blipVision, efficientNetLite];
export default plugins;
