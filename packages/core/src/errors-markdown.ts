/** `docs/errors.md`, made from the catalogue in `errors.ts`; a test compares the two. */
import { ERROR_CODES } from './errors.ts';

/** The page's text. */
export function errorsMarkdown(): string {
  const rows = Object.entries(ERROR_CODES)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, meaning]) => `| \`${code}\` | ${meaning} |`);
  return `# Errors

Every error that Querent throws on purpose is a \`QuerentError\`: \`code\` (one of those below), \`message\` (what happened, what was
expected, where), \`fix\` (what to do), \`details\` (the offending values, for programs) and \`cause\`. Recognise one with
\`isQuerentError(error)\`. A cancelled call rejects with its signal's own reason instead. This page is generated from
\`packages/core/src/errors.ts\`.

| code | meaning |
| --- | --- |
${rows.join('\n')}
`;
}
