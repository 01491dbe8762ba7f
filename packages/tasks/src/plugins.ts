/** The tasks of this package: add one here. */
import type { TaskPlugin } from '@querent/core';
import caption from './caption.ts';
import embed from './embed.ts';
import match from './match.ts';

// A task takes the inputs that its own schema accepts; who calls it by name knows no more of them.
const plugins: readonly TaskPlugin[] = [caption, match, embed] as readonly unknown[] as readonly TaskPlugin[];
export default plugins;
