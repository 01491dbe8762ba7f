/** The bridges of this package: add one here. */
import type { BridgePlugin } from '@querent/core';
import qformer from './qformer.ts';

const plugins: readonly BridgePlugin[] = [qformer];
export default plugins;
