/** The built-in language models. Adding one: its file, a line here, a parity test. */
import type { LanguageModelPlugin } from '@querent/core';
import blipText from './blip-text.ts';
import gpt2 from './gpt2.ts';
import gptNeox from './gpt-neox.ts';
import llama from './llama.ts';
import mistral from './mistral.ts';
import opt from './opt.ts';
import qwen2 from './qwen2.ts';
import t5 from './t5.ts';

/** Every language model of this package. Each is given the config that its own schema accepted. */
export const languageModels: readonly LanguageModelPlugin[] = [blipText, gpt2, gptNeox, llama, mistral, opt, qwen2, t5];
