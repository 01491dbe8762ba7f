#!/usr/bin/env node
/** What `npm create querent-plugin NAME -- --kind KIND` starts. */
import { main } from './main.ts';

process.exitCode = await main(process.argv.slice(2));
