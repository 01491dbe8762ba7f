import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createChatTemplate, loadChatTemplate } from './chat-template.ts';

/** ChatML, as Qwen2's tokenizer has it. */
const CHATML = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const TALK = [{ role: 'user', content: 'What is it?' }, { role: 'assistant', content: 'A dog.' }, { role: 'user', content: 'Where?' }] as const;

test('a talk ends where the answer begins', () => {
  expect(createChatTemplate(CHATML).render(TALK)).toBe(
    '<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\nA dog.<|im_end|>\n<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n',
  );
});

test('special tokens have their names', () => {
  expect(createChatTemplate('{{ bos_token }}{{ messages[0].content }}{{ eos_token }}', { bos_token: '<s>', eos_token: '</s>' }).render(TALK)).toBe('<s>What is it?</s>');
});

test('a template that refuses the messages, and one that is no template, have a code', () => {
  expect(() => createChatTemplate("{{ raise_exception('roles must alternate') }}").render(TALK)).toThrow(expect.objectContaining({ code: 'QRT_TOKENIZER', message: expect.stringContaining('roles must alternate') as string }));
  expect(() => createChatTemplate('{% for message in %}')).toThrow(expect.objectContaining({ code: 'QRT_TOKENIZER' }));
});

test('the template stands in tokenizer_config.json, as a text or by name, or in a file of its own', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'querent-chat-'));
  try {
    const tokenizer = join(folder, 'tokenizer.json');
    expect(await loadChatTemplate(tokenizer)).toBeUndefined();
    const config = (chat_template: unknown): Promise<void> => writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify({ bos_token: { content: '<s>' }, chat_template }));
    await config('{{ bos_token }}one');
    expect((await loadChatTemplate(tokenizer))?.render(TALK)).toBe('<s>one');
    await config([{ name: 'tool_use', template: 'no' }, { name: 'default', template: 'two' }]);
    expect((await loadChatTemplate(tokenizer))?.render(TALK)).toBe('two');
    await writeFile(join(folder, 'chat_template.jinja'), 'three');
    expect((await loadChatTemplate(tokenizer))?.render(TALK)).toBe('three');
  } finally {
    await rm(folder, { recursive: true });
  }
});
