/** The stores of this package: add one here. */
import type { StorePlugin } from '@querent/core';
import folderStore from './index-store/index-store.ts';

const plugins: readonly StorePlugin[] = [folderStore];
export default plugins;
