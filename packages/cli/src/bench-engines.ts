/** `querent bench engines`: a process for each engine and backend that works, so that the memory of one is not another's. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { QuerentError } from '@querent/core';
import type { EngineBenchmark } from 'querent/bench';
import { note, printJson, printLine } from './output.ts';
import { openQuerent } from './session.ts';

export interface BenchEnginesArgs {
  /** Only this one, in this process. */
  readonly engine?: string | undefined;
  readonly threads: number;
  readonly steps: number;
  readonly json: boolean;
  readonly signal: AbortSignal;
}

const REFERENCE = 'onnxruntime:cpu';

/** Measures and prints; gives the exit code. */
export async function benchEngines({ engine, threads, steps, json, signal }: BenchEnginesArgs): Promise<number> {
  if (engine !== undefined) {
    const { benchEngine } = await import('querent/bench');
    await using querent = await openQuerent({ engine, threads: String(threads) });
    const found = await benchEngine(querent, { threads, steps, signal });
    if (json) printJson(found);
    else printTable([found]);
    return 0;
  }
  const found: EngineBenchmark[] = [];
  for (const name of await candidates()) {
    signal.throwIfAborted();
    const measured = await inProcess(name, threads, steps, signal);
    if (measured !== undefined) found.push(measured);
  }
  const reference = found.find((each) => each.engine === REFERENCE);
  if (reference === undefined) throw new QuerentError('QRT_ENGINE_PROVIDER', `${REFERENCE} could not be measured.`);
  if (json) printJson(found.map((each) => ({ ...each, ratio: ratios(each, reference) })));
  else printTable(found, reference);
  return 0;
}

/** Every engine and backend that starts here. */
async function candidates(): Promise<string[]> {
  await using querent = await openQuerent({});
  const names: string[] = [];
  for (const plugin of querent.registry.list('engine')) {
    const statuses = (await plugin.probe?.()) ?? plugin.backends.map((backend) => ({ backend, available: true }));
    for (const { backend, available } of statuses) if (available) names.push(`${plugin.name}:${backend}`);
  }
  return names;
}

async function inProcess(engine: string, threads: number, steps: number, signal: AbortSignal): Promise<EngineBenchmark | undefined> {
  const isSource = import.meta.url.endsWith('.ts');
  const bin = fileURLToPath(new URL(isSource ? '../dist/bin.js' : './bin.js', import.meta.url));
  const words = ['bench', 'engines', '--engine', engine, '--threads', String(threads), '--steps', String(steps), '--json'];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [bin, ...words], { signal, maxBuffer: 2 ** 24 });
    return JSON.parse(stdout.slice(stdout.indexOf('{'))) as EngineBenchmark; // this command's own output
  } catch (error) {
    signal.throwIfAborted();
    note(`${engine} could not be measured: ${error instanceof Error ? error.message.split('\n').slice(1, 3).join(' ') : String(error)}`);
    return undefined;
  }
}

function ratios(each: EngineBenchmark, reference: EngineBenchmark): { readonly time: number; readonly tokens: number; readonly memory: number } {
  return { time: each.secondsPerStep / reference.secondsPerStep, tokens: each.tokensPerSecond / reference.tokensPerSecond, memory: each.peakRssBytes / reference.peakRssBytes };
}

/** A Markdown table, as docs/engines.md has it. */
function printTable(found: readonly EngineBenchmark[], reference?: EngineBenchmark): void {
  printLine('| Engine | Step | Tokens/s | Memory | Step, ratio | Tokens/s, ratio | Memory, ratio |');
  printLine('| --- | --: | --: | --: | --: | --: | --: |');
  for (const each of found) {
    const ratio = reference === undefined ? undefined : ratios(each, reference);
    const shown = ratio === undefined ? ['', '', ''] : [ratio.time, ratio.tokens, ratio.memory].map((value) => value.toFixed(2));
    printLine(`| ${each.engine} | ${(each.secondsPerStep * 1000).toFixed(0)} ms | ${each.tokensPerSecond.toFixed(0)} | ${(each.peakRssBytes / 2 ** 20).toFixed(0)} MiB | ${shown.join(' | ')} |`);
  }
}
