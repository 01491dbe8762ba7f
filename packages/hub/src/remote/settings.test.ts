import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseRepoName } from './repo-name.ts';
import { hubSettings } from './settings.ts';

test('the environment says where the hub and its cache are, as it does for Python', async () => {
  const of = async (environment: Record<string, string>): Promise<string> => (await hubSettings({}, environment)).cacheDir;
  expect(await of({})).toBe(join(homedir(), '.cache/huggingface/hub'));
  expect(await of({ XDG_CACHE_HOME: '/x' })).toBe('/x/huggingface/hub');
  expect(await of({ XDG_CACHE_HOME: '/x', HF_HOME: '/h' })).toBe('/h/hub');
  expect(await of({ HF_HOME: '~/h' })).toBe(join(homedir(), 'h/hub'));
  expect(await of({ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old' })).toBe('/old');
  expect(await of({ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '/c' })).toBe('/c');
  expect((await hubSettings({}, {})).endpoint.href).toBe('https://huggingface.co/');
  expect((await hubSettings({}, { HF_ENDPOINT: 'http://mirror/hf/' })).endpoint.href).toBe('http://mirror/hf/');
  for (const [value, isOffline] of [['1', true], ['true', true], ['0', false], ['', false]] as const) expect((await hubSettings({}, { HF_HUB_OFFLINE: value })).isOffline).toBe(isOffline);
  expect((await hubSettings({}, { HF_HUB_DOWNLOAD_TIMEOUT: '3' })).stallMs).toBe(3000);
  for (const endpoint of ['ftp://x', 'huggingface.co', 'http://x?y']) await expect(hubSettings({ endpoint }, {})).rejects.toMatchObject({ code: 'QRT_USAGE' });
});

test('a token comes from the call, HF_TOKEN or the file; one with a line break is refused', async () => {
  const home = await mkdtemp(join(tmpdir(), 'querent-token-'));
  try {
    const token = async (environment: Record<string, string>, given?: string): Promise<string | undefined> => (await hubSettings(given === undefined ? {} : { token: given }, { HF_HOME: home, ...environment })).token;
    expect(await token({})).toBeUndefined();
    await writeFile(join(home, 'token'), 'hf_file\n');
    expect(await token({})).toBe('hf_file');
    expect(await token({ HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' })).toBeUndefined();
    expect(await token({ HF_TOKEN: 'hf_env' })).toBe('hf_env');
    expect(await token({ HF_TOKEN: 'hf_env' }, 'hf_call')).toBe('hf_call');
    await expect(token({ HF_TOKEN: 'hf_a\r\nx: y' })).rejects.toMatchObject({ code: 'QRT_USAGE', message: expect.not.stringContaining('hf_a') });
  } finally {
    await rm(home, { recursive: true });
  }
});

test('names of repositories, with a revision; everything else is a path', () => {
  expect(parseRepoName('Salesforce/blip2-opt-2.7b')).toEqual({ repo: 'Salesforce/blip2-opt-2.7b', revision: 'main' });
  expect(parseRepoName('a/b@refs/pr/1')).toEqual({ repo: 'a/b', revision: 'refs/pr/1' });
  for (const path of ['model', './a/b', '../a', '/a/b', 'a/b/c', 'a/..', '~/a', 'a\\b/c', 'a--b/c', 'a/b.git', 'models/x.gguf', '', 'a/', 'a b/c', 'a/b@c@d', `a/${'b'.repeat(200)}`]) expect(parseRepoName(path), path).toBeUndefined();
  for (const revision of ['', '../../x', '/x', 'a/../b', 'x/', 'a//b', 'a\0', '-x']) expect(() => parseRepoName(`a/b@${revision}`), revision).toThrow(/no revision/);
});
