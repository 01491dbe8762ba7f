#!/usr/bin/env node
/** What `querent` starts. The story is in `main.ts`. */
import { main } from './main.ts';

process.exitCode = await main(process.argv.slice(2));
