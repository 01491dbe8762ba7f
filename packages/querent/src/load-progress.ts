/** What takes long when a model is loaded for the first time in a precision. */
export interface LoadProgress {
  /** `quantising`: matrices are made smaller. `calibrating`: pictures go through an encoder to see which of its products bear 8 bits. */
  readonly what: 'quantising' | 'calibrating';
  readonly done: number;
  /** Of a calibration the most that it may come to: it ends as soon as it knows. */
  readonly total: number;
}

export type OnLoadProgress = (event: LoadProgress) => void;

/** `onProgress` of a piece of work, as options of it; nothing where nobody listens. */
export function progressOf(what: LoadProgress['what'], onProgress: OnLoadProgress | undefined): { readonly onProgress?: (done: number, total: number) => void } {
  return onProgress === undefined ? {} : { onProgress: (done, total) => onProgress({ what, done, total }) };
}
