import { describe, expect, it } from 'vitest';
import { createRegistry, defineMetric, defineObjective } from '../index.ts';
import type { MetricPlugin } from '../index.ts';

function metric(name: string, dispose?: () => void): MetricPlugin {
  return defineMetric({ name, evaluate: () => ({ figures: {} }), ...(dispose === undefined ? {} : { dispose }) });
}

const error = (code: string): unknown => expect.objectContaining({ code });

describe('the registry', () => {
  it('finds plugins by kind and name, and lists them in order', () => {
    const [bleu, cider] = [metric('bleu'), metric('cider')];
    const registry = createRegistry([cider, bleu, defineObjective({ name: 'bleu', build: (_, { features }) => ({ loss: features }) })]);
    expect(registry.get('metric', 'bleu')).toBe(bleu);
    expect(registry.has('metric', 'cider')).toBe(true);
    expect(registry.has('task', 'cider')).toBe(false);
    expect(registry.list('metric')).toEqual([bleu, cider]);
    expect(registry.list('task')).toEqual([]);
  });

  it('says what is registered and which name is near', () => {
    const registry = createRegistry([metric('bleu'), metric('cider')]);
    expect(() => registry.get('metric', 'cidr')).toThrow(error('QRT_PLUGIN_UNKNOWN'));
    expect(() => registry.get('metric', 'cidr')).toThrow('There is no metric called "cidr". Registered: bleu, cider. Did you mean "cider"?');
    expect(() => registry.get('task', 'caption')).toThrow('Registered: none is.');
    expect(() => registry.get('metrik' as 'metric', 'bleu')).toThrow(error('QRT_PLUGIN_UNKNOWN'));
    expect(() => registry.get('constructor' as 'metric', 'name')).toThrow(error('QRT_PLUGIN_UNKNOWN'));
  });

  it.each([
    ['nothing', null, /is null, expected an object/],
    ['a function', () => undefined, /is a function/],
    ['an unknown kind', { ...metric('x'), kind: 'metrics' }, /kind is "metrics", expected one of engine.*did you mean metric\?/],
    ['another contract', { ...metric('x'), contract: 2 }, /contract is 2, this version keeps contract 1/],
    ['a missing function', { ...metric('x'), evaluate: undefined }, /evaluate is missing, expected a function/],
    ['a name with blanks', metric('x y'), /name is "x y"/],
    ['a schema that does not compile', { ...metric('x'), configSchema: { type: 'nonsense' } }, /configSchema does not compile/],
    ['a schema that is none', { ...metric('x'), configSchema: 'string' }, /configSchema is "string", expected a JSON Schema/],
    ['a task without schemas', { kind: 'task', name: 't', contract: 1, run: () => undefined }, /input is missing[^]*output is missing/],
  ])('refuses %s', (_, plugin, message) => {
    expect(() => createRegistry([plugin])).toThrow(error('QRT_PLUGIN_INVALID'));
    expect(() => createRegistry([plugin])).toThrow(message);
  });

  it('says all that is wrong with a plugin at once', () => {
    expect(() => createRegistry([{ kind: 'encoder', name: '', contract: 0 }])).toThrow(/name is[^]*contract is[^]*build is missing[^]*configSchema is missing/);
  });

  it('refuses two plugins of one name, but takes the same one twice', () => {
    const one = metric('x');
    expect(() => createRegistry([one, metric('x')])).toThrow('Two plugins are called metric "x".');
    expect(createRegistry([one, one]).list('metric')).toEqual([one]);
  });

  it('overrides in a child without leaking, and lists each name once', () => {
    const [parentX, childX, y] = [metric('x'), metric('x'), metric('y')];
    const parent = createRegistry([parentX, y]);
    const child = parent.child([childX, metric('z')]);
    expect(child.get('metric', 'x')).toBe(childX);
    expect(child.get('metric', 'y')).toBe(y);
    expect(child.list('metric').map((one) => one.name)).toEqual(['x', 'y', 'z']);
    expect(parent.get('metric', 'x')).toBe(parentX);
    expect(parent.has('metric', 'z')).toBe(false);
  });

  it('disposes each plugin once, children first, and then finds nothing', async () => {
    const gone: string[] = [];
    const parent = createRegistry([metric('parent', () => gone.push('parent'))]);
    const child = parent.child([metric('child', () => gone.push('child'))]);
    await parent.dispose();
    await parent.dispose();
    await child.dispose();
    expect(gone).toEqual(['child', 'parent']);
    expect(() => parent.get('metric', 'parent')).toThrow('The registry has been disposed.');
    expect(parent.list('metric')).toEqual([]);
  });

  it('leaves the parent as it is when a child is disposed', async () => {
    const gone: string[] = [];
    const parent = createRegistry([metric('parent', () => gone.push('parent'))]);
    {
      await using child = parent.child([metric('child', () => gone.push('child'))]);
      expect(child.has('metric', 'parent')).toBe(true);
    }
    expect(gone).toEqual(['child']);
    expect(parent.has('metric', 'parent')).toBe(true);
  });
});
