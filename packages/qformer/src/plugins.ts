/** The bridges of this package: add one here. */
import type { BridgePlugin } from '@querent/core';
import instructQformer from './instruct-qformer.ts';
import qformer from './qformer.ts';

const plugins: readonly BridgePlugin[] = [qformer, instructQformer];
export default plugins;
