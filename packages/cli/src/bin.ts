#!/usr/bin/env -S node --single-threaded-gc
/** What `querent` starts. The story is in `main.ts`; why Node is told how to collect garbage, in docs/decisions/0006. */
import { main } from './main.ts';

process.exitCode = await main(process.argv.slice(2));
