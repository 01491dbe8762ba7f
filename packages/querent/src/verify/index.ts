// Comparing with reference tensors
export { verify } from './verify.ts';
export type { VerifyOptions } from './verify.ts';
export type { Comparison, VerifyReport } from './report.ts';
