/**
 * Models of pipelines, shared: two pipelines of one model (and one engine, precision, set of plugins) hold one copy of its weights and
 * the same sessions. The last one that is disposed frees it. Those who compose hold a Querent and load once by themselves.
 */
import { resolve } from 'node:path';
import { QuerentError, linkSignals, raceSignal } from '@querent/core';
import type { LoadedModel, TaskPlugin } from '@querent/core';
import type { LoadOptions, Querent, QuerentOptions } from './create-querent.ts';
import type { RecipeObject } from './model-source.ts';

/** A model that is held for as long as somebody uses it. */
export interface SharedModel {
  readonly model: LoadedModel;
  /** Counts a user out. Twice is harmless. */
  release(): Promise<void>;
}

interface Entry {
  readonly owner: Querent;
  readonly loading: Promise<LoadedModel>;
  /** Aborts loading when nobody waits for it any longer. */
  readonly nobody: AbortController;
  users: number;
}

const entries = new Map<string, Entry>();
const identities = new WeakMap<object, number>();
let lastIdentity = 0;

function identityOf(value: unknown): number | string {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return String(value);
  const known = identities.get(value) ?? ++lastIdentity;
  identities.set(value, known);
  return known;
}

/** What makes two models the same one. */
export function sharingKey(from: string | RecipeObject, loading: LoadOptions, querent: QuerentOptions): string {
  const { engine, precision, calibration, baseDir = '.' } = loading;
  const { inPlace, threads, plugins = [] } = querent;
  return JSON.stringify([from, resolve(baseDir), engine, precision, calibration?.cosine, calibration?.images?.map(identityOf), inPlace, threads, [...plugins].map(identityOf)]);
}

/** Is there a model of that key, loaded or on its way? */
export function isShared(key: string): boolean {
  return entries.has(key);
}

/**
 * The model of that key, loaded by `querent` if nobody has it; the Querent then belongs to the model, and is disposed
 * with it, also when it does not load.
 *
 * @throws what loading throws; the signal's own reason, which ends the loading only when nobody else waits for it.
 */
export async function shareModel(key: string, from: string | RecipeObject, loading: LoadOptions, querent: Querent): Promise<SharedModel> {
  const { signal, ...options } = loading;
  signal?.throwIfAborted();
  let entry = entries.get(key);
  if (entry === undefined) {
    const nobody = new AbortController();
    entry = { owner: querent, loading: querent.load(from, { ...options, signal: nobody.signal }), nobody, users: 0 };
    entries.set(key, entry);
  }
  const held = entry;
  held.users++;
  let releasing: Promise<void> | undefined;
  const release = (): Promise<void> => {
    releasing ??= (async () => {
      if (--held.users > 0) return;
      if (entries.get(key) === held) entries.delete(key);
      held.nobody.abort(new DOMException('Nobody waits for this model any longer.', 'AbortError'));
      await held.loading.catch(() => undefined);
      await held.owner.dispose();
    })();
    return releasing;
  };
  const { controller, unlink } = linkSignals(signal === undefined ? [] : [signal]);
  try {
    return { model: await raceSignal(held.loading, controller.signal), release };
  } catch (error) {
    if (entries.get(key) === held && signal?.aborted !== true) entries.delete(key); // it did not load: the next one tries again
    await release();
    throw error;
  } finally {
    unlink();
  }
}

/** @throws QuerentError QRT_MODEL_UNSUPPORTED when the model cannot do the task. */
export function assertCapable(task: Pick<TaskPlugin, 'name' | 'requires'>, model: LoadedModel): void {
  const missing = (task.requires ?? []).filter((capability) => !model.capabilities.has(capability));
  if (missing.length === 0) return;
  throw new QuerentError('QRT_MODEL_UNSUPPORTED', `The task ${task.name} needs a model that can ${missing.join(' and ')}; ${model.name} can ${[...model.capabilities].join(', ')}.`, {
    fix: 'Load a model that can, for instance models/querent-mini to caption and models/querent-mini-retrieval to match.',
    details: { task: task.name, missing },
  });
}
