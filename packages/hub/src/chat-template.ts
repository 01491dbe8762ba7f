/**
 * A tokenizer's chat template: messages → the prompt that an instruction-tuned model was trained on. The template is Jinja, from
 * `chat_template.jinja` or `tokenizer_config.json` beside the tokenizer (HF `apply_chat_template`); `@huggingface/jinja` renders it.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Template } from '@huggingface/jinja';
import { QuerentError } from '@querent/core';
import type { ChatMessage } from '@querent/core';
import { errnoOf, fileError } from './file-error.ts';
import { isJsonObject, readJsonObjectIfThere } from './json-file.ts';
import type { JsonObject } from './json-file.ts';

/** Renders a talk; what it gives ends where the assistant's answer begins. */
export interface ChatTemplate {
  /** @throws QuerentError QRT_TOKENIZER when the template refuses the messages, for instance two turns of the same role. */
  render(messages: readonly ChatMessage[]): string;
}

/** Longest template that is read: real ones have a few thousand characters. */
const MAX_TEMPLATE = 1 << 20;
/** Tokens that templates speak of by name. */
const NAMED_TOKENS = ['bos_token', 'eos_token', 'pad_token', 'unk_token'] as const;

/**
 * The chat template beside a `tokenizer.json`; undefined where there is none.
 *
 * @throws QuerentError QRT_TOKENIZER when it is no Jinja, QRT_FILE, QRT_CONFIG_UNREADABLE.
 */
export async function loadChatTemplate(tokenizerFile: string): Promise<ChatTemplate | undefined> {
  const folder = dirname(tokenizerFile);
  const config = await readJsonObjectIfThere(join(folder, 'tokenizer_config.json'));
  const file = join(folder, 'chat_template.jinja');
  const source = (await textIfThere(file)) ?? templateOf(config ?? {});
  if (source === undefined) return undefined;
  return createChatTemplate(source, tokensOf(config ?? {}), file);
}

/** @param name for messages */
export function createChatTemplate(source: string, tokens: Readonly<Record<string, string>> = {}, name = 'chat_template'): ChatTemplate {
  const refuse = (what: string, cause: unknown): QuerentError =>
    new QuerentError('QRT_TOKENIZER', `${name}: ${what}: ${cause instanceof Error ? cause.message : String(cause)}.`, { fix: 'Check the template, and the order of the roles: user and assistant take turns.', cause });
  if (source.length > MAX_TEMPLATE) throw refuse('the chat template is too long', `${source.length} characters`);
  let template: Template;
  try {
    template = new Template(source);
  } catch (cause) {
    throw refuse('the chat template cannot be read', cause);
  }
  return {
    render(messages) {
      try {
        return template.render({ ...tokens, messages: messages.map(({ role, content }) => ({ role, content })), add_generation_prompt: true });
      } catch (cause) {
        throw refuse('the chat template refuses these messages', cause);
      }
    },
  };
}

/** `chat_template` is a text, or a list of named ones, of which `default` is meant. */
function templateOf(config: JsonObject): string | undefined {
  const given = config['chat_template'];
  if (typeof given === 'string') return given;
  if (!Array.isArray(given)) return undefined;
  const named: unknown = given.find((one: unknown) => isJsonObject(one) && one['name'] === 'default');
  return isJsonObject(named) && typeof named['template'] === 'string' ? named['template'] : undefined;
}

/** Special tokens by name; the file has them as texts, or as objects with a `content`. */
function tokensOf(config: JsonObject): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const name of NAMED_TOKENS) {
    const given = config[name];
    const text = isJsonObject(given) ? given['content'] : given;
    if (typeof text === 'string') tokens[name] = text;
  }
  return tokens;
}

async function textIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw fileError('read', file, cause);
  }
}
