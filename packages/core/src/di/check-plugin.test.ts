import { describe, expect, it } from 'vitest';
import { checkPlugin } from './check-plugin.ts';

const metric = { kind: 'metric', name: 'exact', contract: 1, evaluate: () => ({ figures: {} }) };

describe('checkPlugin', () => {
  it('gives a plugin back as it is', () => expect(checkPlugin(metric)).toBe(metric));

  it('says whose plugin it is, and what it was written for', () => {
    const old = (): unknown => checkPlugin({ ...metric, contract: 7 }, { source: 'querent-plugin-exact', peer: '^9.0.0' });
    expect(old).toThrow('The metric "exact" of querent-plugin-exact does not keep its contract:\n  contract is 7, this version keeps contract 1 (its package.json asks for @querent/core ^9.0.0)');
    expect(old).toThrow(expect.objectContaining({ code: 'QRT_PLUGIN_INVALID', fix: expect.stringContaining('Install a version of the plugin') }));
  });

  it('names the package of a value that is no plugin', () => {
    expect(() => checkPlugin(42, { source: './thing.mjs' })).toThrow('A plugin of ./thing.mjs is a number, expected an object.');
  });
});
