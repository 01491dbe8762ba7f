/**
 * Where the hub is, who asks, and where its files are kept: HuggingFace's own environment variables and defaults
 * (huggingface_hub, "Environment variables"), so that Python and Querent share one cache and one token.
 */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { QuerentError } from '@querent/core';

/** What a caller may say; the environment says the rest. */
export interface HubOptions {
  /** The hub's address. Default `HF_ENDPOINT`, else https://huggingface.co. */
  readonly endpoint?: string;
  /** Default `HF_TOKEN`, else the file that `hf auth login` writes. */
  readonly token?: string;
  /** Default `HF_HUB_CACHE`, else `HF_HOME`/hub, else ~/.cache/huggingface/hub. */
  readonly cacheDir?: string;
  /** Only what is in the cache. Default: `HF_HUB_OFFLINE` is 1. */
  readonly offline?: boolean;
  /** Milliseconds without a byte after which a request has stalled. Default `HF_HUB_DOWNLOAD_TIMEOUT` seconds, else 10 s. */
  readonly stallMs?: number;
  /** Failures in a row, without a byte gained, after which it is given up. Default 5. */
  readonly attempts?: number;
  /** Milliseconds before the second attempt; doubles each time. Default 500. */
  readonly retryDelayMs?: number;
  readonly signal?: AbortSignal;
  readonly onDownload?: (event: DownloadEvent) => void;
}

/** How far a download is. Sent for each piece that arrives: show it as often as you like. */
export interface DownloadEvent {
  readonly type: 'download';
  /** `org/name` */
  readonly repo: string;
  readonly file: string;
  /** Bytes of this file that are here, and that it has. */
  readonly fileBytes: number;
  readonly fileTotal: number;
  /** Bytes of everything that was asked for. */
  readonly bytes: number;
  readonly total: number;
}

export interface HubSettings {
  readonly endpoint: URL;
  readonly token: string | undefined;
  readonly cacheDir: string;
  readonly isOffline: boolean;
  readonly stallMs: number;
  readonly attempts: number;
  readonly retryDelayMs: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * @param environment for tests; the process's own by default
 * @throws QuerentError QRT_USAGE for an address that is none, and for a token that cannot be sent.
 */
export async function hubSettings(options: HubOptions = {}, environment: Environment = process.env): Promise<HubSettings> {
  const home = folder(environment['HF_HOME']) ?? join(folder(environment['XDG_CACHE_HOME']) ?? join(homedir(), '.cache'), 'huggingface');
  const cacheDir = options.cacheDir ?? folder(environment['HF_HUB_CACHE']) ?? folder(environment['HUGGINGFACE_HUB_CACHE']) ?? join(home, 'hub');
  const seconds = Number(environment['HF_HUB_DOWNLOAD_TIMEOUT']);
  return {
    endpoint: endpointOf(options.endpoint ?? nonEmpty(environment['HF_ENDPOINT']) ?? 'https://huggingface.co'),
    token: await tokenOf(options.token, environment, home),
    cacheDir: resolve(cacheDir),
    isOffline: options.offline ?? (isTrue(environment['HF_HUB_OFFLINE']) || isTrue(environment['TRANSFORMERS_OFFLINE'])),
    stallMs: options.stallMs ?? (seconds > 0 ? seconds * 1000 : 10_000),
    attempts: options.attempts ?? 5,
    retryDelayMs: options.retryDelayMs ?? 500,
  };
}

function endpointOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && (url.protocol === 'https:' || url.protocol === 'http:') && url.search === '' && url.hash === '') return url;
  throw new QuerentError('QRT_USAGE', `The hub's address is ${JSON.stringify(text)}; one like https://huggingface.co was expected.`, {
    fix: 'Correct HF_ENDPOINT, or take it out of the environment.',
    details: { endpoint: text },
  });
}

async function tokenOf(given: string | undefined, environment: Environment, home: string): Promise<string | undefined> {
  const named = given ?? nonEmpty(environment['HF_TOKEN']) ?? nonEmpty(environment['HUGGING_FACE_HUB_TOKEN']);
  const isImplicit = named === undefined;
  if (isImplicit && isTrue(environment['HF_HUB_DISABLE_IMPLICIT_TOKEN'])) return undefined;
  const file = folder(environment['HF_TOKEN_PATH']) ?? join(home, 'token');
  const token = (named ?? (await readFile(file, 'utf8').catch(() => ''))).trim(); // most people have no token file
  if (token === '') return undefined;
  if (/^[\x21-\x7e]{1,4096}$/.test(token)) return token;
  throw new QuerentError('QRT_USAGE', `The hub's token (${isImplicit ? file : 'HF_TOKEN'}) has characters that no token has.`, { fix: 'Copy it again from the hub’s settings.' });
}

function folder(value: string | undefined): string | undefined {
  const text = nonEmpty(value);
  if (text === undefined) return undefined;
  if (text === '~' || text.startsWith('~/')) return join(homedir(), text.slice(1));
  return isAbsolute(text) ? text : resolve(text);
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === '' ? undefined : value.trim();
}

function isTrue(value: string | undefined): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes(value?.trim().toUpperCase() ?? '');
}
