import { defineConfig } from 'vitest/config';

// Tests read the packages' sources through the `querent-source` export condition: no build is needed to run them.
export default defineConfig({
  resolve: { conditions: ['querent-source'] },
  ssr: { resolve: { conditions: ['querent-source', 'node', 'import', 'module', 'default'] } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
