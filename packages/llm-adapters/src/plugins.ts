/** The built-in language models. Adding one: its file, a line here, a parity test. */
import type { LanguageModelPlugin } from '@querent/core';
import llama from './llama.ts';
import opt from './opt.ts';
import t5 from './t5.ts';

/** Every language model of this package. Each is given the config that its own schema accepted. */
export const languageModels: readonly LanguageModelPlugin[] = [llama, opt, t5];
