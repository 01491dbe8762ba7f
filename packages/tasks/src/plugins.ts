/** The tasks of this package: add one here. */
import type { TaskPlugin } from '@querent/core';
import attend from './attend.ts';
import caption from './caption.ts';
import chat from './chat.ts';
import curate from './curate.ts';
import embed from './embed.ts';
import instruct from './instruct.ts';
import match from './match.ts';
import retrieve from './retrieve.ts';
import vqa from './vqa.ts';

// A task takes the inputs that its own schema accepts; who calls it by name knows no more of them.
const plugins: readonly TaskPlugin[] = [caption, vqa, instruct, chat, match, embed, attend, retrieve, curate] as readonly unknown[] as readonly TaskPlugin[];
export default plugins;
