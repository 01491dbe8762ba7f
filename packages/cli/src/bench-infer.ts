/** `querent bench infer`: a process for each precision, so that the memory of one is not another's, and PyTorch's beside them. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { QuerentError } from '@querent/core';
import type { Precision } from 'querent';
import type { BenchInferResult } from 'querent/bench';
import { note, printJson, printLine } from './output.ts';
import { openQuerent } from './session.ts';

export interface BenchInferArgs {
  readonly preset: string;
  /** The checkpoint; written there when it is not there. Absent: a folder that is deleted again. */
  readonly folder?: string | undefined;
  /** Names with commas between them. */
  readonly precision: string;
  readonly threads: number;
  readonly newTokens: number;
  readonly rounds: number;
  /** `no` for none. */
  readonly python: string;
  readonly json: boolean;
  readonly signal: AbortSignal;
}

/** Of the repository; a package has no peer. */
const PEER = fileURLToPath(new URL('../../../bench/peer_infer.py', import.meta.url));
/** The peer has no torch, or no transformers. */
const NO_PEER = 3;

/** What the peer prints. */
export type InferPeer = Omit<BenchInferResult, 'precision' | 'madeCache' | 'rssBytes' | 'encoder'> & { readonly precision: string };

/** Measures and prints; gives the exit code. */
export async function benchInferCommand(args: BenchInferArgs): Promise<number> {
  const { BENCH_INFER_PRESETS, writeRandomCheckpoint } = await import('querent/bench');
  const { PRECISIONS } = await import('querent');
  const config = BENCH_INFER_PRESETS[args.preset];
  if (config === undefined) throw new QuerentError('QRT_USAGE', `There is no preset ${JSON.stringify(args.preset)}.`, { fix: `There are: ${Object.keys(BENCH_INFER_PRESETS).join(', ')}.` });
  const precisions = args.precision.split(',').map((name) => {
    const found = PRECISIONS.find((each) => each === name);
    if (found === undefined) throw new QuerentError('QRT_USAGE', `precision is ${JSON.stringify(name)}; there are ${PRECISIONS.join(', ')}.`);
    return found;
  });
  const folder = args.folder === undefined ? await mkdtemp(join(tmpdir(), 'querent-bench-')) : resolve(args.folder);
  try {
    if (!existsSync(join(folder, 'config.json'))) {
      note(`Writing random weights to ${folder}`);
      await using querent = await openQuerent({});
      await writeRandomCheckpoint(folder, config, { registry: querent.registry, signal: args.signal });
    }
    const runs: BenchInferResult[] = [];
    for (const precision of precisions) {
      // The first load makes the quantised weights; its time and memory are not what later ones cost.
      const first = await inProcess(folder, precision, args);
      runs.push(first.madeCache ? await inProcess(folder, precision, args) : first);
    }
    const peer = args.python !== 'no' && existsSync(PEER) ? await runPeer(folder, args) : null;
    if (args.json) printJson({ preset: args.preset, threads: args.threads, runs, peer });
    else printTable(peer === null ? runs : [...runs, peer]);
    return 0;
  } finally {
    if (args.folder === undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** One precision in this process: what {@link benchInferCommand} starts. */
export async function benchInferHere(folder: string, precision: Precision, { threads, newTokens, rounds, signal }: Pick<BenchInferArgs, 'threads' | 'newTokens' | 'rounds' | 'signal'>): Promise<number> {
  const { benchInfer } = await import('querent/bench');
  await using querent = await openQuerent({ threads: String(threads) });
  printJson(await benchInfer(querent, folder, { precision, newTokens, rounds, signal }));
  return 0;
}

async function inProcess(folder: string, precision: Precision, { threads, newTokens, rounds, signal }: BenchInferArgs): Promise<BenchInferResult> {
  const isSource = import.meta.url.endsWith('.ts');
  const bin = fileURLToPath(new URL(isSource ? '../dist/bin.js' : './bin.js', import.meta.url));
  const words = ['bench', 'infer', '--here', '--folder', folder, '--precision', precision, '--threads', String(threads), '--tokens', String(newTokens), '--steps', String(rounds), '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, [bin, ...words], { signal, maxBuffer: 2 ** 24 });
  return JSON.parse(stdout.slice(stdout.indexOf('{'))) as BenchInferResult; // this command's own output
}

async function runPeer(folder: string, { python, threads, newTokens, rounds, signal }: BenchInferArgs): Promise<InferPeer | null> {
  try {
    const { stdout } = await promisify(execFile)(python, [PEER, JSON.stringify({ folder, threads, newTokens, rounds, numBeams: 5 })], { signal, maxBuffer: 2 ** 24 });
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as InferPeer; // what the script prints
  } catch (error) {
    signal.throwIfAborted();
    const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== NO_PEER && code !== 'ENOENT') note(`The peer could not be measured: ${error instanceof Error ? error.message.split('\n').slice(-2).join(' ') : String(error)}`);
    return null;
  }
}

function printTable(runs: readonly (BenchInferResult | InferPeer)[]): void {
  printLine('| | Load | Encode | Prefill | Tokens/s | Captions/s, beams | Peak memory |');
  printLine('| --- | --: | --: | --: | --: | --: | --: |');
  for (const run of runs) {
    const cells = [`${run.loadSeconds.toFixed(1)} s`, `${run.encodeSeconds.toFixed(2)} s`, `${run.prefillSeconds.toFixed(2)} s`, run.tokensPerSecond.toFixed(1), run.beamCaptionsPerSecond.toFixed(2), `${(run.peakRssBytes / 1e9).toFixed(2)} GB`];
    printLine(`| ${run.name} ${run.precision} | ${cells.join(' | ')} |`);
  }
}
