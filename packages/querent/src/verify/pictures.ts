/**
 * Verifies a folder of source pictures: each must decode, to the size that the fixtures of image processors beside it give, and
 * what those expect of the pictures is compared. Alone, decoding is all there is to see.
 */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { isJsonObject, readJsonObjectIfThere } from '@querent/hub';
import type { JsonObject } from '@querent/hub';
import { decodeImage } from '@querent/images';
import { openFixture, part, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import { imageNames, verifyPreprocessing } from './preprocessing.ts';
import type { VerifyReport } from './report.ts';
import { compareExactly } from './report.ts';

const PICTURE = /\.(png|jpe?g|webp|gif|tiff?|avif)$/i;

/** File names of the pictures in a folder. */
export async function picturesIn(folder: string): Promise<readonly string[]> {
  return (await readdir(folder)).filter((name) => PICTURE.test(name)).sort();
}

export async function verifyPictures(fixture: Fixture): Promise<VerifyReport> {
  const pictures = await picturesIn(fixture.folder);
  const users = await fixturesAbout(fixture.folder, pictures);
  for (const picture of pictures) {
    const { width, height, data } = await decodeImage(join(fixture.folder, picture));
    const sizes = users.flatMap(({ notes }) => (Array.isArray(part(notes, 'sizes_wh')[picture]) ? [{ actual: [width, height], expected: part(notes, 'sizes_wh')[picture] }] : []));
    fixture.outputs.push(compareExactly(`${picture}/decoded`, [{ actual: data.length, expected: 3 * width * height }, ...sizes]));
  }
  for (const { folder } of users) {
    const report = await verifyPreprocessing(await openFixture(folder), fixture.folder);
    const within = <One extends { readonly name: string }>(one: One): One => ({ ...one, name: `${basename(folder)}/${one.name}` });
    fixture.outputs.push(...report.outputs.map(within));
    fixture.notCompared.push(...report.notCompared.map(within));
  }
  return reportOf(fixture, 'source pictures');
}

/** Folders beside this one whose image processors were run on these pictures. */
async function fixturesAbout(folder: string, pictures: readonly string[]): Promise<readonly { readonly folder: string; readonly notes: JsonObject }[]> {
  const parent = dirname(resolve(folder));
  const found: { folder: string; notes: JsonObject }[] = [];
  for (const entry of await readdir(parent, { withFileTypes: true }).catch(() => [])) {
    if (!entry.isDirectory()) continue;
    const beside = join(parent, entry.name);
    // A neighbour that cannot be read is nobody's reference for these pictures.
    const notes = await readJsonObjectIfThere(join(beside, 'expected.json')).catch(() => undefined);
    if (notes === undefined || !isJsonObject(notes['processors']) || !Array.isArray(notes['images'])) continue;
    if (imageNames({ notes }).every((name) => pictures.includes(name))) found.push({ folder: beside, notes });
  }
  return found;
}
