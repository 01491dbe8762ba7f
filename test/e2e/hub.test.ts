/** Models by their name on the hub: found, fetched, gone on with, and refused; against a hub of our own that fails, stalls and lies. */
import { mkdir, readFile, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { scanCacheDir } from '@huggingface/hub';
import { loadTensors, openModelFolder, readSafetensors, resolveModel, type DownloadEvent, type HubOptions } from '@querent/hub';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GOLDENS, everything, temporary, tinyModel } from './command-line.ts';
import { refuse, sendJson, startHub, treeOf, type HubRepo, type TestHub } from './hub-server.ts';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const NAME = 'acme/tiny';

let repo: HubRepo;
let hub: TestHub;
let folder: Awaited<ReturnType<typeof temporary>>;
let options: HubOptions;

beforeEach(async () => {
  folder = await temporary();
  repo = { commit: COMMIT, files: await filesOf(await tinyModel(folder.path)) };
  repo = { ...repo, files: new Map([...repo.files, ['README.md', Buffer.from('# Tiny')], ['pytorch_model.bin', Buffer.alloc(10)], ['onnx/model.onnx', Buffer.alloc(10)]]) };
  hub = await startHub({ [NAME]: repo });
  options = { endpoint: hub.endpoint, cacheDir: join(folder.path, 'cache'), stallMs: 300, retryDelayMs: 1, attempts: 3, offline: false };
});
afterEach(async () => {
  await hub[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function filesOf(path: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const name of await readdir(path)) files.set(name, await readFile(join(path, name)));
  return files;
}

const weights = (): Buffer => repo.files.get('model.safetensors') ?? Buffer.alloc(0);
const fileRequests = (): string[] => hub.requests.filter(({ path }) => path.includes('/resolve/')).map(({ path }) => path.split('/').at(-1) ?? '');
/** Bytes that a refused download left: none may be taken for the file. */
const blobs = async (): Promise<string[]> => (await readdir(join(folder.path, 'cache', 'models--acme--tiny', 'blobs')).catch(() => [])).filter((name) => !name.endsWith('.incomplete'));

describe('a model by its name', () => {
  it('is fetched once, only what is needed, into the cache that Python uses', async () => {
    const events: DownloadEvent[] = [];
    const { folder: snapshot, source } = await resolveModel(NAME, { ...options, onDownload: (event) => events.push(event) });
    expect(source).toBe('hub');
    expect(snapshot).toBe(join(folder.path, 'cache', 'models--acme--tiny', 'snapshots', COMMIT));
    expect(fileRequests().toSorted()).toEqual([...repo.files.keys()].filter((name) => !/README|\.bin|onnx/.test(name)).toSorted());
    expect(await readFile(join(folder.path, 'cache', 'models--acme--tiny', 'refs', 'main'), 'utf8')).toBe(COMMIT);
    expect(await readlink(join(snapshot, 'model.safetensors'))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
    expect(await readlink(join(snapshot, 'config.json'))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    expect((await everything(folder.path)).filter((name) => /incomplete|lock$|tmp$/.test(name))).toEqual([]);
    const last = events.at(-1);
    expect(last?.bytes).toBe(last?.total);
    expect(events.every(({ bytes, total }) => bytes <= total)).toBe(true);

    const model = await openModelFolder(NAME, options);
    expect(model.parameters.size).toBeGreaterThan(50);
    expect((await loadTensors(model.parameters)).size).toBe(model.parameters.size);
    const asked = hub.requests.length;
    expect((await resolveModel(NAME, options)).source).toBe('cache');
    expect((await resolveModel(`${NAME}@${COMMIT}`, { ...options, offline: true })).source).toBe('cache');
    expect(hub.requests).toHaveLength(asked);
  });

  it('lies in the cache as @huggingface/hub reads it', async () => {
    await resolveModel(NAME, options);
    const { repos, warnings } = await scanCacheDir(join(folder.path, 'cache'));
    expect(warnings).toEqual([]);
    expect(repos.map(({ id, revisions }) => [id.name, revisions.map(({ commitOid, refs }) => [commitOid, refs])])).toEqual([['acme/tiny', [[COMMIT, ['main']]]]]);
  });

  it('of a local folder is that folder, and a path that is not there is no question to the hub', async () => {
    expect(await resolveModel(join(folder.path, 'tiny-model'), options)).toEqual({ folder: join(folder.path, 'tiny-model'), source: 'local' });
    for (const path of ['./nowhere', '/no/where', 'a/b/c', 'nowhere', 'packages/mispelt']) expect(await resolveModel(path, options)).toEqual({ folder: path, source: 'local' });
    await expect(openModelFolder('packages/mispelt', options)).rejects.toMatchObject({ code: 'QRT_FILE' });
    expect(hub.requests).toEqual([]);
  });

  it('offline comes from the cache or not at all', async () => {
    await expect(resolveModel(NAME, { ...options, offline: true })).rejects.toMatchObject({ code: 'QRT_HUB_OFFLINE' });
    const { folder: snapshot } = await resolveModel(NAME, options);
    await rm(join(snapshot, 'model.safetensors'));
    await expect(resolveModel(NAME, { ...options, offline: true })).rejects.toMatchObject({ code: 'QRT_HUB_OFFLINE', message: expect.stringContaining('only in part') });
  });

  it('in shards brings its index and the shards that it names, by reference', async () => {
    const whole = await readSafetensors(join(folder.path, 'tiny-model', 'model.safetensors'));
    const names = [...whole.tensors.keys()];
    const { writeSafetensors } = await import('@querent/hub');
    const files = new Map([...repo.files].filter(([name]) => name !== 'model.safetensors'));
    const map: Record<string, string> = {};
    for (const [i, half] of [names.slice(0, 40), names.slice(40)].entries()) {
      const shard = `model-0000${i + 1}-of-00002.safetensors`;
      await writeSafetensors(join(folder.path, shard), new Map([...whole.tensors].filter(([name]) => half.includes(name))), { dtype: i === 0 ? 'bfloat16' : 'float32' });
      files.set(shard, await readFile(join(folder.path, shard)));
      for (const name of half) map[name] = shard;
    }
    files.set('model-00003-of-00003.safetensors', Buffer.from('nobody asks for me'));
    files.set('model.safetensors.index.json', Buffer.from(JSON.stringify({ metadata: {}, weight_map: map })));
    await using other = await startHub({ 'acme/shards': { commit: COMMIT, files } });
    const model = await openModelFolder('acme/shards', { ...options, endpoint: other.endpoint });
    expect(model.parameters.size).toBe(names.length);
    expect(new Set([...model.parameters.values()].map(({ dtype }) => dtype))).toEqual(new Set(['bfloat16', 'float32']));
    expect(other.requests.some(({ path }) => path.includes('00003'))).toBe(false);
  });

  it('may be a part of another model', async () => {
    const mixed = join(folder.path, 'mixed');
    await mkdir(mixed);
    const config = JSON.parse(await readFile(join(folder.path, 'tiny-model', 'config.json'), 'utf8')) as Record<string, unknown>; // our own fixture
    await writeFile(join(mixed, 'config.json'), JSON.stringify({ ...config, text_config: { from: NAME } }));
    const model = await openModelFolder(mixed, options);
    expect(model.config['text_config']).toMatchObject({ model_type: 'opt' });
    expect([...model.parameters.keys()].every((name) => name.startsWith('language_model.'))).toBe(true);
  });

  it('sends the token to the hub and to nobody else', async () => {
    await using elsewhere = await startHub({});
    elsewhere.trick('/blob', (_, response) => void response.end(weights()));
    hub.trick('model.safetensors', (_, response) => void response.writeHead(302, { location: `${elsewhere.endpoint}/blob` }).end());
    await resolveModel(NAME, { ...options, token: 'hf_secret' });
    expect(new Set(hub.requests.map(({ authorization }) => authorization))).toEqual(new Set(['Bearer hf_secret']));
    expect(elsewhere.requests.map(({ authorization }) => authorization)).toEqual([undefined]);
  });
});

describe('a download that breaks', () => {
  it('goes on where it stopped, in the same run', async () => {
    hub.trick('model.safetensors', (_, response, count) => {
      if (count > 2) return false;
      response.writeHead(count === 1 ? 200 : 206, { 'content-length': weights().length - (count === 1 ? 0 : 1000) });
      response.write(weights().subarray(count === 1 ? 0 : 1000, count * 1000), () => response.destroy());
      return true;
    });
    const { folder: snapshot } = await resolveModel(NAME, options);
    expect((await readFile(join(snapshot, 'model.safetensors'))).equals(weights())).toBe(true);
    expect(hub.requests.filter(({ path }) => path.endsWith('model.safetensors')).map(({ range }) => range)).toEqual([undefined, 'bytes=1000-', 'bytes=2000-']);
  });

  it('goes on in the next run, after a stall was given up', async () => {
    let isBroken = true;
    hub.trick('model.safetensors', (_, response) => {
      if (!isBroken) return false;
      response.writeHead(200, { 'content-length': weights().length });
      response.write(weights().subarray(0, 5000));
      return true; // and then nothing more
    });
    await expect(resolveModel(NAME, { ...options, attempts: 1 })).rejects.toMatchObject({ code: 'QRT_HUB_UNREACHABLE', message: expect.stringContaining('sent nothing') });
    expect((await everything(folder.path)).filter((name) => name.endsWith('.incomplete'))).toHaveLength(1);
    await expect(resolveModel(NAME, { ...options, offline: true })).rejects.toMatchObject({ code: 'QRT_HUB_OFFLINE' });
    isBroken = false;
    hub.requests.length = 0;
    const { folder: snapshot } = await resolveModel(NAME, options);
    expect(hub.requests.filter(({ path }) => path.includes('/resolve/')).map(({ range }) => range)).toEqual(['bytes=5000-']);
    expect((await readFile(join(snapshot, 'model.safetensors'))).equals(weights())).toBe(true);
  });

  it('starts again where an older beginning was damaged, or the hub knows no ranges', async () => {
    const blobsFolder = join(folder.path, 'cache', 'models--acme--tiny', 'blobs');
    const row = treeOf(repo).find((entry) => 'lfs' in entry) as { lfs: { oid: string } }; // the weights
    await mkdir(blobsFolder, { recursive: true });
    await writeFile(join(blobsFolder, `${row.lfs.oid}.incomplete`), Buffer.alloc(3000, 7));
    const { folder: snapshot } = await resolveModel(NAME, options);
    expect((await readFile(join(snapshot, 'model.safetensors'))).equals(weights())).toBe(true);

    await rm(join(folder.path, 'cache'), { recursive: true });
    await mkdir(blobsFolder, { recursive: true });
    await writeFile(join(blobsFolder, `${row.lfs.oid}.incomplete`), weights().subarray(0, 3000));
    hub.trick('model.safetensors', (_, response) => void response.writeHead(200, { 'content-length': weights().length }).end(weights()));
    await resolveModel(NAME, options);
    expect((await readFile(join(snapshot, 'model.safetensors'))).equals(weights())).toBe(true);
  });

  it('is tried again after 500 and 429, and then given up with what has arrived kept', async () => {
    hub.trick('/tree/', (_, response, count) => (count < 3 ? refuse(response, count === 1 ? 500 : 429) : false));
    await resolveModel(NAME, options);
    await rm(join(folder.path, 'cache'), { recursive: true });
    hub.trick('model.safetensors', (_, response) => refuse(response, 503));
    await expect(resolveModel(NAME, options)).rejects.toMatchObject({ code: 'QRT_HUB_UNREACHABLE', message: expect.stringContaining('503'), details: { status: 503 } });
    expect((await blobs()).length).toBeGreaterThan(1);
    hub.trick('model.safetensors', (_, response) => void response.writeHead(429, { 'retry-after': '3' }).end());
    await expect(resolveModel(NAME, { ...options, attempts: 1 })).rejects.toMatchObject({ details: { status: 429, retryAfterMs: 3000 } });
  });

  it('ends with the reason of its signal, at once, in every phase', async () => {
    for (const part of ['/revision/', '/tree/', 'config.json', 'model.safetensors']) {
      const stop = new AbortController();
      const reason = new Error(`stop at ${part}`);
      hub.trick(part, () => {
        if (stop.signal.aborted) return false;
        stop.abort(reason);
        return true;
      });
      await expect(resolveModel(NAME, { ...options, stallMs: 60_000, signal: stop.signal })).rejects.toBe(reason);
    }
    expect((await everything(folder.path)).filter((name) => name.endsWith('.lock'))).toEqual([]);
    await resolveModel(NAME, options);
  });

  it('may be wanted twice at once: it is fetched once', async () => {
    const both = await Promise.all([resolveModel(NAME, options), resolveModel(NAME, options)]);
    expect(both[0].folder).toBe(both[1].folder);
    expect(fileRequests().filter((name) => name === 'model.safetensors')).toHaveLength(1);
  });

  it('gives up on a server that nobody runs', async () => {
    const { endpoint } = hub;
    await hub[Symbol.asyncDispose]();
    await expect(resolveModel(NAME, options)).rejects.toMatchObject({ code: 'QRT_HUB_UNREACHABLE', message: expect.stringContaining(endpoint), fix: expect.stringContaining('HF_ENDPOINT') });
  });
});

describe('what the hub refuses has a code and a way out', () => {
  it.each([
    [401, 'GatedRepo', 'QRT_HUB_ACCESS', /terms/],
    [403, undefined, 'QRT_HUB_ACCESS', /terms|token/],
    [401, undefined, 'QRT_HUB_ACCESS', /token/],
    [401, 'RepoNotFound', 'QRT_HUB_NOT_FOUND', /has no/],
    [404, 'RevisionNotFound', 'QRT_HUB_NOT_FOUND', /has no/],
    [418, undefined, 'QRT_HUB_RESPONSE', /418/],
  ])('%i %s', async (status, said, code, message) => {
    hub.trick('/revision/', (_, response) => refuse(response, status, said));
    await expect(resolveModel(NAME, options)).rejects.toMatchObject({ code, message: expect.stringMatching(message), fix: expect.any(String) });
    expect(hub.requests).toHaveLength(1);
  });

  it('a gated file of an open repository, and a revision that is not there', async () => {
    await expect(resolveModel(`${NAME}@v2`, options)).rejects.toMatchObject({ code: 'QRT_HUB_NOT_FOUND' });
    hub.trick('model.safetensors', (_, response) => refuse(response, 403, 'GatedRepo'));
    await expect(resolveModel(NAME, options)).rejects.toMatchObject({ code: 'QRT_HUB_ACCESS', message: expect.stringContaining('model.safetensors of acme/tiny') });
  });

  it('pickles alone, before anything is fetched, with how to convert them', async () => {
    const files = new Map([...repo.files].filter(([name]) => name !== 'model.safetensors'));
    await using pickles = await startHub({ [NAME]: { commit: COMMIT, files } });
    await expect(resolveModel(NAME, { ...options, endpoint: pickles.endpoint })).rejects.toMatchObject({
      code: 'QRT_CHECKPOINT_FORMAT',
      message: expect.stringContaining('pickle'),
      fix: expect.stringContaining('safe_serialization=True'),
    });
    expect(pickles.requests.filter(({ path }) => path.includes('/resolve/'))).toEqual([]);
  });
});

describe('a hub that lies leaves nothing behind', () => {
  const tree = (change: (row: Record<string, unknown>) => void): void =>
    hub.trick('/tree/', (_, response) =>
      sendJson(response, treeOf(repo).map((row) => {
        const changed: Record<string, unknown> = { ...row };
        if (changed['path'] === 'model.safetensors') change(changed);
        return changed;
      })),
    );

  it.each<[string, () => void]>([
    ['another checksum', () => tree((row) => (row['lfs'] = { oid: 'a'.repeat(64), size: weights().length, pointerSize: 1 }))],
    ['a byte that is other', () => hub.trick('model.safetensors', (_, response) => void response.end(Buffer.from(weights()).fill(1, 500, 501)))],
    ['a document that is other', () => hub.trick('config.json', (_, response) => void response.end(Buffer.from(repo.files.get('config.json') ?? '').fill(32, 0, 1)))],
    ['a longer file', () => hub.trick('model.safetensors', (_, response) => void response.writeHead(200).end(Buffer.concat([weights(), Buffer.alloc(9)])))],
    ['a file that never ends', () => hub.trick('model.safetensors', (_, response) => endless(response))],
    ['a shorter file', () => hub.trick('model.safetensors', (_, response) => void response.writeHead(200, { 'content-length': 100 }).end(weights().subarray(0, 100)))],
    ['no bytes at all', () => hub.trick('model.safetensors', (_, response) => void response.writeHead(200).end())],
    ['another part than was asked for', () => hub.trick('model.safetensors', (_, response, count) => {
      if (count > 1) return void response.writeHead(206, { 'content-range': `bytes 7-9/${weights().length}` }).end(Buffer.alloc(3));
      response.writeHead(200, { 'content-length': weights().length });
      response.write(weights().subarray(0, 3000), () => response.destroy());
    })],
    ['a size that no disk has', () => tree((row) => (row['lfs'] = { oid: 'a'.repeat(64), size: 2 ** 52, pointerSize: 1 }))],
    ['a negative size', () => tree((row) => (row['lfs'] = { oid: 'a'.repeat(64), size: -1, pointerSize: 1 }))],
    ['a checksum that is a path', () => tree((row) => (row['lfs'] = { oid: '../../../evil', size: 4, pointerSize: 1 }))],
    ['a name that leaves the folder', () => tree((row) => (row['path'] = '../../evil.safetensors'))],
    ['an absolute name', () => tree((row) => (row['path'] = '/tmp/evil.safetensors'))],
    ['a name with a backslash', () => tree((row) => (row['path'] = '..\\evil.safetensors'))],
    ['a commit that is a path', () => hub.trick('/revision/', (_, response) => sendJson(response, { _id: '1', id: NAME, sha: '../../evil', lastModified: '' }))],
    ['a list that is none', () => hub.trick('/tree/', (_, response) => sendJson(response, { error: 'no' }))],
    ['rows that are none', () => hub.trick('/tree/', (_, response) => sendJson(response, [null, 3]))],
    ['JSON that is none', () => hub.trick('/tree/', (_, response) => void response.end('<html>'))],
    ['JSON without end', () => hub.trick('/tree/', (_, response) => endless(response))],
    ['pages without end', () => hub.trick('/tree/', (_, response) => void response.writeHead(200, { link: `<${hub.endpoint}/api/models/${NAME}/tree/${COMMIT}?x=1>; rel="next"` }).end('[]'))],
    ['a next page elsewhere', () => hub.trick('/tree/', (_, response) => void response.writeHead(200, { link: '<http://127.0.0.1:9/tree>; rel="next"' }).end('[]'))],
    ['redirects without end', () => hub.trick('model.safetensors', (request, response) => void response.writeHead(302, { location: request.url }).end())],
    ['a redirect to a file', () => hub.trick('model.safetensors', (_, response) => void response.writeHead(302, { location: 'file:///etc/passwd' }).end())],
  ])('%s', async (_, lie) => {
    lie();
    await expect(resolveModel(NAME, options)).rejects.toMatchObject({ code: expect.stringMatching(/^QRT_(HUB_RESPONSE|FILE)$/), fix: expect.any(String) });
    expect(await blobs()).not.toContain(expect.stringContaining('evil'));
    for (const name of await everything(join(folder.path, 'cache')).catch(() => [])) expect(name).not.toMatch(/evil|lock$|tmp$|model\.safetensors$/);
    await expect(resolveModel(NAME, { ...options, offline: true })).rejects.toMatchObject({ code: 'QRT_HUB_OFFLINE' });
  });

  it('a config that points into this machine', async () => {
    const config = JSON.parse(String(repo.files.get('config.json'))) as Record<string, unknown>; // our own fixture
    for (const from of ['/etc', '../../../../tiny-model', join(GOLDENS, 'llm-opt')]) {
      const files = new Map([...repo.files, ['config.json', Buffer.from(JSON.stringify({ ...config, text_config: { from } }))]]);
      await using other = await startHub({ 'acme/pointing': { commit: COMMIT, files } });
      await expect(openModelFolder('acme/pointing', { ...options, cacheDir: join(folder.path, 'other'), endpoint: other.endpoint })).rejects.toMatchObject({ code: 'QRT_CONFIG_INVALID', message: expect.stringContaining('not on the hub') });
      await rm(join(folder.path, 'other'), { recursive: true });
    }
  });
});

/** Spaces until the client has had enough. */
function endless(response: import('node:http').ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  const piece = Buffer.alloc(1 << 16, 32);
  const more = (): void => {
    while (!response.destroyed && response.write(piece));
    if (!response.destroyed) response.once('drain', more);
  };
  more();
}
