/** `querent caption` as a process: order, JSON, errors of single photographs, standard input, patterns, Ctrl-C. */
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PHOTOS, querent, temporary, tinyModel } from './command-line.ts';

const photos = ['astronaut.jpg', 'cat.jpg', 'coffee.jpg'].map((name) => join(PHOTOS, name));

/** One JSON value a line. */
function lines(stdout: string): { readonly image: string; readonly text?: string; readonly error?: { readonly code: string } }[] {
  return stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as { image: string });
}

describe('querent caption', () => {
  it('prints a line for each photograph, in order', async () => {
    await using folder = await temporary();
    const model = await tinyModel(folder.path);
    const { code, stdout, stderr } = await querent(['caption', ...photos, '--model', model]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout.trimEnd().split('\n').map((line) => line.split('   ')[0])).toEqual(photos);
  });

  it('tells each bad file on stderr, captions the others, and says so with exit code 1', async () => {
    await using folder = await temporary();
    const model = await tinyModel(folder.path);
    const many = join(folder.path, 'photos');
    await mkdir(many);
    await copyFile(photos[0]!, join(many, 'a.jpg'));
    await writeFile(join(many, 'b-empty.jpg'), '');
    await writeFile(join(many, 'c-text.jpg'), 'this is no photograph');
    await writeFile(join(many, 'd-cut.jpg'), (await readFile(photos[1]!)).subarray(0, 2000));
    await copyFile(photos[2]!, join(many, 'e.jpg'));
    const { code, stdout, stderr } = await querent(['caption', many, '--model', model, '--json']);
    expect(code).toBe(1);
    const results = lines(stdout);
    expect(results.map(({ image }) => image.slice(many.length + 1))).toEqual(['a.jpg', 'b-empty.jpg', 'c-text.jpg', 'd-cut.jpg', 'e.jpg']);
    expect(results.map(({ error }) => error?.code)).toEqual([undefined, 'QRT_IMAGE', 'QRT_IMAGE', 'QRT_IMAGE', undefined]);
    expect(stderr.trimEnd().split('\n')).toHaveLength(3);
  });

  it('reads standard input, and patterns that the shell left alone', async () => {
    await using folder = await temporary();
    const model = await tinyModel(folder.path);
    const piped = await querent(['caption', '-', '--json', '--model', model], { stdin: await readFile(photos[1]!) });
    expect(piped.code).toBe(0);
    const direct = await querent(['caption', photos[1]!, '--json', '--model', model]);
    expect(lines(piped.stdout)[0]?.text).toBe(lines(direct.stdout)[0]?.text);
    const pattern = await querent(['caption', join(PHOTOS, '{cat,coffee}*.jpg'), '--json', '--model', model]);
    expect(lines(pattern.stdout).map(({ image }) => image)).toEqual(photos.slice(1));
  });

  it('stops at Ctrl-C and keeps what is printed', async () => {
    await using folder = await temporary();
    const model = await tinyModel(folder.path);
    const endless = Array.from({ length: 400 }, (_, i) => photos[i % photos.length]!);
    let isInterrupted = false;
    const { code, stdout } = await querent(['caption', ...endless, '--model', model, '--json'], {
      onOutput: (text, interrupt) => {
        if (isInterrupted || text.split('\n').length < 3) return;
        isInterrupted = true;
        interrupt();
      },
    });
    expect(code).toBe(130);
    const done = lines(stdout).length;
    expect(done).toBeGreaterThanOrEqual(2);
    expect(done).toBeLessThan(400);
  });
});
