/** `fetch` by way of the proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name, in either case: Node's own reads none of them. */
import type { EnvHttpProxyAgent } from 'undici';

const VARIABLES = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'NO_PROXY', 'no_proxy'] as const;

/** Connections are kept as long as the variables say the same. */
let current: { readonly said: string; readonly agent: EnvHttpProxyAgent } | undefined;

/** No proxy leads back to this machine. */
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** As `fetch`. Without such variables, and on this machine, it is Node's own, and undici is not loaded. */
export async function fetchByProxy(url: URL, init: Pick<RequestInit, 'redirect' | 'headers' | 'signal'>): Promise<Response> {
  const said = VARIABLES.map((name) => process.env[name] ?? '');
  if (LOOPBACK.test(url.hostname) || said.slice(0, 4).every((value) => value.trim() === '')) return fetch(url, init);
  const undici = await import('undici');
  if (current?.said !== said.join()) {
    void current?.agent.close();
    current = { said: said.join(), agent: new undici.EnvHttpProxyAgent() };
  }
  // The same library as inside Node, whose types are written twice.
  return (await undici.fetch(url, { ...(init as import('undici').RequestInit), dispatcher: current.agent })) as unknown as Response;
}
