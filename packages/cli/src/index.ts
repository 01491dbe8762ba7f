// The command line as a function: arguments in, exit code out
export { main } from './main.ts';
