/** A proxy of our own on loopback, and a hub that only it can find. */
import type { IncomingMessage } from 'node:http';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { readBounded, request } from './request.ts';
import { hubSettings } from './settings.ts';

const NAMES = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'NO_PROXY', 'no_proxy'] as const;
const before = Object.fromEntries(NAMES.map((name) => [name, process.env[name]]));

const asked: string[] = [];
const hub = createServer((message, response) => response.end(`hub ${message.url ?? ''}`));
/** Both ways that a client may take: a tunnel, and the whole address. */
const proxy = createServer((message: IncomingMessage, response) => {
  asked.push(message.url ?? '');
  httpRequest({ port: portOf(hub), path: new URL(message.url ?? '').pathname }, (answer) => answer.pipe(response)).end();
});
proxy.on('connect', (message, socket) => {
  asked.push(message.url ?? '');
  const through = connect(portOf(hub), '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
  through.pipe(socket).pipe(through);
});

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port; // it listens on TCP
}

const listen = (server: Server): Promise<void> => new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

beforeAll(async () => {
  await Promise.all([listen(hub), listen(proxy)]);
});
beforeEach(() => {
  asked.length = 0;
  for (const name of NAMES) delete process.env[name];
});
afterAll(() => {
  for (const name of NAMES) {
    const value = before[name];
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  for (const server of [hub, proxy]) {
    server.closeAllConnections();
    server.close();
  }
});

async function textOf(address: string): Promise<string> {
  const settings = await hubSettings({ endpoint: new URL(address).origin, attempts: 1 });
  return Buffer.from(await readBounded(await request(new URL(address), settings), 100, 'it')).toString();
}

test('a request goes by way of the proxy that the environment names', async () => {
  process.env['HTTP_PROXY'] = `http://127.0.0.1:${portOf(proxy)}`;
  expect(await textOf('http://hub.invalid/file')).toBe('hub /file');
  expect(asked).toHaveLength(1);
  expect(asked[0]).toContain('hub.invalid');
});

test('what NO_PROXY names is asked directly, as is this machine', async () => {
  process.env['HTTP_PROXY'] = `http://127.0.0.1:${portOf(proxy)}`;
  expect(await textOf(`http://127.0.0.1:${portOf(hub)}/file`)).toBe('hub /file');
  process.env['NO_PROXY'] = 'hub.invalid';
  await expect(textOf('http://hub.invalid/file')).rejects.toMatchObject({ code: 'QRT_HUB_UNREACHABLE' }); // there is none
  expect(asked).toEqual([]);
});

test('HTTPS_PROXY is for https alone, and a proxy that is not there is an error with a code', async () => {
  process.env['HTTPS_PROXY'] = `http://127.0.0.1:${portOf(proxy)}`;
  await expect(textOf('http://hub.invalid/file')).rejects.toMatchObject({ code: 'QRT_HUB_UNREACHABLE' });
  expect(asked).toEqual([]);
  await expect(textOf('https://hub.invalid/file')).rejects.toMatchObject({ code: 'QRT_HUB_UNREACHABLE' }); // this hub speaks no TLS
  expect(asked).toEqual(['hub.invalid:443']);
  process.env['HTTPS_PROXY'] = 'http://127.0.0.1:1';
  await expect(textOf('https://hub.invalid/file')).rejects.toMatchObject({ code: 'QRT_HUB_UNREACHABLE' });
});
