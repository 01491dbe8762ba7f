/** The encoders of this package: add one here. */
import type { EncoderPlugin } from '@querent/core';
import efficientNetLite from './efficientnet-lite.ts';
import eva from './eva.ts';
import vit from './vit.ts';

const plugins: readonly EncoderPlugin[] = [vit, eva, efficientNetLite];
export default plugins;
