/**
 * Chat: a talk about one or more images → the next answer, token by token. The images stand before the talk, the talk is the prompt and
 * grows with each turn: by the chat template that came with the tokenizer, or else in BLIP-2's own form
 * (`Question: … Answer: … Question: … Answer:`). Stateless: whoever talks keeps the messages and adds the answer to them.
 */
import { QuerentError, defineTask, validate } from '@querent/core';
import type { ChatMessage, ImageSource, JsonSchema, LoadedModel, TaskPlugin } from '@querent/core';
import { generateProperties, generatedTextSchema } from './generate-schema.ts';
import { assertImage } from './image-input.ts';
import type { GeneratedText, RowOptions } from './stages.ts';
import { softPromptOf, written } from './written.ts';

/** A talk so far. What is left out of how to write: greedy, 1 to 128 tokens, then the model's own values. */
export interface ChatInput extends Omit<RowOptions, 'prompt'> {
  readonly image?: ImageSource;
  /** Several, in the order that the model sees them. */
  readonly images?: readonly ImageSource[];
  /** Turns; the last one is the user's. */
  readonly messages: readonly ChatMessage[];
}

export type ChatOutput = GeneratedText;

const MAX_NEW_TOKENS = 128;
const MAX_IMAGES = 16;

const { prompt: _prompt, ...howToWrite } = generateProperties;
const input: JsonSchema = {
  description: 'A talk about one or more images.',
  type: 'object',
  properties: {
    ...howToWrite,
    image: { description: 'A path, a URL, the bytes of a picture, a Blob, a stream or pixels.' },
    images: { type: 'array', items: {}, minItems: 1, maxItems: MAX_IMAGES, description: 'Several images, in the order that the model sees them.' },
    messages: {
      type: 'array',
      minItems: 1,
      items: {
        type: 'object',
        properties: { role: { enum: ['system', 'user', 'assistant'], description: 'Who speaks.' }, content: { type: 'string', description: 'What is said.' } },
        required: ['role', 'content'],
        additionalProperties: false,
      },
      description: "Turns; the last one is the user's.",
    },
  },
  required: ['messages'],
  additionalProperties: false,
};

interface Talk {
  readonly images: readonly ImageSource[];
  readonly messages: readonly ChatMessage[];
  readonly options: RowOptions;
}

/** @throws QuerentError QRT_USAGE when there is no image, or nothing to answer. */
function talkOf(given: ChatInput): Talk {
  const { image, images, messages, ...options } = validate<ChatInput>(input, given, { what: 'the input of chat' });
  const all = [...(image === undefined ? [] : [image]), ...(images ?? [])];
  assertImage(all[0], 'chat');
  if (messages.at(-1)?.role !== 'user') throw new QuerentError('QRT_USAGE', "The last message of a chat is not the user's.", { fix: 'End with { role: "user", content: … }: it is answered.' });
  const numBeams = options.doSample === true ? 1 : (options.numReturnSequences ?? 1);
  return { images: all, messages, options: { numBeams, maxNewTokens: MAX_NEW_TOKENS, minNewTokens: 1, ...options } };
}

/** A talk in the form that BLIP-2's models have seen: questions and answers. What the system says stands in front. */
export function plainPrompt(messages: readonly ChatMessage[]): string {
  const turns = messages.map(({ role, content }) => {
    const said = content.trim();
    if (role === 'system') return said;
    return role === 'user' ? `Question: ${said} Answer:` : /[.!?]$/.test(said) ? said : `${said}.`;
  });
  return turns.filter((turn) => turn !== '').join(' ');
}

const chat: TaskPlugin<ChatInput, ChatOutput> = defineTask<ChatInput, ChatOutput>({
  name: 'chat',
  description: 'Answers the last turn of a talk about one or more images.',
  input,
  output: generatedTextSchema,
  requires: ['encode', 'bridge', 'generate'],

  async *run(given, { model, signal, stream }) {
    const { images, messages, options } = talkOf(given);
    const prompt = await promptOf(model, messages);
    const softPrompt = await softPromptOf(model, images, messages.at(-1)!.content, signal);
    yield* written(model, softPrompt, { ...options, prompt }, { signal, stream });
  },
});
export default chat;

async function promptOf(model: LoadedModel, messages: readonly ChatMessage[]): Promise<string> {
  return (await model.chatPrompt?.(messages)) ?? plainPrompt(messages);
}
