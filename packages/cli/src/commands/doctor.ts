/** `querent doctor`: the machine, every engine and backend, whether it works, how fast, and what to install where it does not. */
import { JSON_ARG, MODEL_ARGS, defineCliCommand, wholeNumber } from '../command.ts';
import type { Command } from '../command.ts';
import { printJson, printLine } from '../output.ts';
import { openQuerent } from '../session.ts';

const args = { threads: MODEL_ARGS.threads, ...JSON_ARG } as const;

const command: Command<typeof args> = defineCliCommand({
  name: 'doctor',
  description: 'Run a small graph on every engine and backend, and say what to install for those that do not work.',
  args,
  async run(given, { signal }) {
    const { doctor } = await import('querent/doctor');
    await using querent = await openQuerent({});
    const threads = wholeNumber('threads', given.threads);
    const report = await doctor(querent, { signal, ...(threads === undefined ? {} : { threads }) });
    if (given.json) {
      printJson(report);
      return 0;
    }
    const { machine, backends } = report;
    printLine(`${machine.platform}, Node ${machine.node}, ${machine.cores} cores (${machine.processor.trim()}), ${(machine.memoryBytes / 2 ** 30).toFixed(1)} GiB`);
    const width = Math.max(...backends.map(({ engine, backend }) => engine.length + backend.length + 1));
    for (const { engine, backend, works, gflops, note } of backends) {
      printLine(`${works ? 'ok' : '- '}  ${`${engine}:${backend}`.padEnd(width)}  ${gflops === null ? '' : `${gflops.toPrecision(3)} GFLOP/s  `}${note}`.trimEnd());
    }
    return 0;
  },
});
export default command as unknown as Command; // `run` is given what `args` describes
