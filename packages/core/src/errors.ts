/** The one error class and the catalogue of its codes. `docs/errors.md` is generated from `ERROR_CODES`. */

/** code → what it means, in one sentence. */
export const ERROR_CODES = {
  QRT_CHECKPOINT_MISMATCH: 'Tensors of a checkpoint are missing or have another shape than the config asks for.',
  QRT_CHECKPOINT_FORMAT: 'A weight file is damaged, truncated or of a kind that is not read.',
  QRT_CONFIG_INVALID: 'A config, recipe or other document does not fit its schema.',
  QRT_CONFIG_UNREADABLE: 'A JSON document cannot be read or parsed.',
  QRT_DATASET: 'A dataset cannot be read, or a row of it is unusable.',
  QRT_ENGINE_COMPILE: 'An engine refused a graph.',
  QRT_ENGINE_FEED: 'A run was given inputs that do not fit the graph.',
  QRT_ENGINE_PROVIDER: 'An engine or execution provider is not available here.',
  QRT_ENGINE_RUN: 'An engine failed while running.',
  QRT_FLOW_OVERFLOW: 'A stage on a pushing Observable buffered more than its bound.',
  QRT_FILE: 'A file cannot be read or written.',
  QRT_GRAPH_OP: 'An operator was given inputs that it does not take.',
  QRT_GRAPH_PARAMETER: 'A parameter was declared twice with different shapes.',
  QRT_GRAPH_GRADIENT: 'A gradient was asked for that does not exist.',
  QRT_GRAPH_FORMAT: 'An ONNX file is damaged or uses what is not read.',
  QRT_HUB_ACCESS: 'The hub wants a token, or its terms for a model accepted, before it gives a file.',
  QRT_HUB_NOT_FOUND: 'The hub has no such model, revision or file, or does not show it to this token.',
  QRT_HUB_OFFLINE: 'A model is not in the cache, and nothing may be fetched.',
  QRT_HUB_RESPONSE: 'The hub sent something other than what it had announced; it was thrown away.',
  QRT_HUB_UNREACHABLE: 'The hub cannot be reached, failed, or stalled, also when tried again.',
  QRT_IMAGE: 'An image cannot be decoded.',
  QRT_IMAGE_TOO_LARGE: 'An image has more pixels or bytes than the limit.',
  QRT_MODEL_UNSUPPORTED: 'No plugin is registered for this model_type.',
  QRT_PLUGIN_INVALID: 'A plugin does not keep its contract.',
  QRT_PLUGIN_UNKNOWN: 'No plugin of that kind and name is registered.',
  QRT_STORE: 'A store of vectors is damaged, not there, or was made by another model.',
  QRT_TOKENIZER: 'A tokenizer file is damaged or of a kind that is not read.',
  QRT_USAGE: 'A command or function was called with arguments it does not take.',
  QRT_VERIFY_FAILED: 'Outputs differ from the reference by more than the tolerance.',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface QuerentErrorOptions {
  /** What to do about it, one or two sentences. */
  readonly fix?: string;
  /** The offending values: structured, for programs. */
  readonly details?: unknown;
  readonly cause?: unknown;
}

const MARK = Symbol.for('querent.error');

/** What went wrong (`message`), which kind (`code`) and the way out (`fix`). Recognise it with {@link isQuerentError}. */
export class QuerentError extends Error {
  readonly code: ErrorCode;
  readonly fix: string | undefined;
  readonly details: unknown;

  constructor(code: ErrorCode, message: string, options: QuerentErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'QuerentError';
    this.code = code;
    this.fix = options.fix;
    this.details = options.details;
    Object.defineProperty(this, MARK, { value: true });
  }
}

/** True for a QuerentError of any copy of this package. */
export function isQuerentError(error: unknown): error is QuerentError {
  return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[MARK] === true;
}
