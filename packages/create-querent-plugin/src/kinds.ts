/**
 * The one source file and the one test of a fresh plugin, by kind: files of `templates/KIND`, where NAME stands for the plugin's name.
 * Each is the smallest plugin of its kind that does something real, written to be changed; its test runs the conformance suite of
 * `@querent/core/testing` on it, with a real engine.
 */
import { readFile } from 'node:fs/promises';

/** Kinds with a template; the others are written by hand (docs/plugins.md). */
export type TemplateKind = 'task' | 'encoder' | 'language-model' | 'objective' | 'dataset' | 'metric';

export const TEMPLATE_KINDS: readonly TemplateKind[] = ['task', 'encoder', 'language-model', 'objective', 'dataset', 'metric'];

/** The texts of `src/index.ts` and `test/index.test.js`. */
export async function readTemplate(kind: TemplateKind, name: string): Promise<{ readonly source: string; readonly test: string }> {
  const read = async (file: string): Promise<string> => (await readFile(new URL(`../templates/${kind}/${file}`, import.meta.url), 'utf8')).replaceAll('NAME', name);
  return { source: await read('index.ts'), test: await read('conformance.js') };
}
