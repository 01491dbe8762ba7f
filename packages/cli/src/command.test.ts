import { describe, expect, it } from 'vitest';
import { QuerentError } from '@querent/core';
import type { Command } from './command.ts';
import { JSON_ARG, splitArgs, wholeNumber } from './command.ts';
import { describeError, exitCodeOf } from './print-error.ts';

const command: Command = { name: 'caption', description: '', args: { model: { type: 'string' }, ...JSON_ARG }, run: () => Promise.resolve(0) };

describe('splitArgs', () => {
  it('tells options, positionals and plugins apart, in any order', () => {
    expect(splitArgs(command, ['a.jpg', '--model', 'm', '--json', '-', '--plugin', 'p', '--plugin=q', '--', '--b'])).toEqual({
      options: ['--model=m', '--json'],
      positionals: ['a.jpg', '-', '--b'],
      plugins: ['p', 'q'],
    });
  });

  it.each([[['--modle', 'm'], 'Did you mean --model?'], [['--model'], 'needs a value'], [['--model', '--json'], 'needs a value'], [['-m', 'x'], 'has no option -m'], [['--json=yes'], 'takes no value']])(
    'refuses %j',
    (words, why) => {
      const thrown = (() => {
        try {
          splitArgs(command, words);
        } catch (error) {
          return error;
        }
        return undefined;
      })();
      expect(describeError(thrown)).toContain(why);
      expect(exitCodeOf(thrown)).toBe(2);
    },
  );
});

describe('wholeNumber', () => {
  it('takes whole numbers and nothing else', () => {
    expect(wholeNumber('beams', '5')).toBe(5);
    expect(wholeNumber('beams', undefined)).toBeUndefined();
    for (const text of ['0', '-1', '1.5', 'x', '', ' ']) expect(() => wholeNumber('beams', text)).toThrow(/whole number/);
  });
});

describe('describeError', () => {
  it('is one paragraph: code and place, what happened, the way out', () => {
    const error = new QuerentError('QRT_FILE', 'a.json: it is gone.', { fix: 'Bring it back.', details: { file: 'a.json' } });
    expect(describeError(error)).toBe('error QRT_FILE  a.json\n  it is gone. Bring it back.\n');
    expect(exitCodeOf(error)).toBe(1);
  });

  it('shows stacks, those of causes too, only when asked', () => {
    const error = new QuerentError('QRT_FILE', 'No.', { cause: new Error('deeper') });
    expect(describeError(error)).not.toContain('deeper');
    expect(describeError(error, { debug: true })).toContain('caused by Error: deeper');
  });

  it('says that an uncoded error was not expected', () => {
    expect(describeError(new TypeError('x is not a function'))).toContain('was not expected');
    expect(exitCodeOf(new TypeError('x'))).toBe(1);
  });
});
