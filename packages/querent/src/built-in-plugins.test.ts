/** What a start does not do, to be quick, is done here: every schema of every plugin that comes with Querent compiles. */
import { createRegistry } from '@querent/core';
import { expect, it } from 'vitest';
import { builtInPlugins } from './built-in-plugins.ts';

it('has schemas that compile', () => {
  const registry = createRegistry(builtInPlugins, { compileSchemas: true });
  expect(registry.list('task').length).toBeGreaterThan(0);
});
