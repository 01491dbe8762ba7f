import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MODELS } from '../test/tiny-models.ts';
import { defaultModel } from './default-model.ts';

test.skipIf(!existsSync(join(MODELS, 'querent-mini/config.json')))('what writes is the default; what compares is asked for by capability', () => {
  expect(defaultModel()).toMatch(/querent-mini$/);
  expect(defaultModel(['encode', 'bridge', 'generate'])).toMatch(/querent-mini$/);
  expect(defaultModel(['encode', 'match'])).toMatch(/querent-mini-retrieval$/);
});
