/** The messages between the caller's thread (device.ts) and the worker (worker.ts), and how errors cross with all that they say. */
import type { PortInfo, TensorData } from '@querent/core';
import { ERROR_CODES, QuerentError, isQuerentError } from '@querent/core';
import type { OnnxEngineOptions } from './engine.ts';
import type { ModelPlan } from './plan.ts';

/** What a worker is started with. */
export interface WorkerStart {
  readonly options: OnnxEngineOptions;
  /** Two Int32 cells, see exit-guard.ts. */
  readonly guard: SharedArrayBuffer;
}

/** Caller → worker. Each has an id; the worker answers `done` or `failed` once. */
export type Request =
  | { readonly type: 'compile'; readonly plan: ModelPlan }
  | {
      readonly type: 'run';
      readonly executable: number;
      readonly feeds: Readonly<Record<string, TensorData>>;
      readonly outputs: readonly string[];
    }
  | { readonly type: 'dispose'; readonly executable: number }
  | {
      readonly type: 'program';
      readonly moduleUrl: string;
      readonly exportName: string;
      readonly args: unknown;
      readonly executables: Readonly<Record<string, number>>;
      /** How many events may be on their way before the first `credit`. */
      readonly window: number;
    };

export type CallerMessage =
  | { readonly type: 'request'; readonly id: number; readonly request: Request }
  /** The caller has taken events of program `id`: as many more may come. */
  | { readonly type: 'credit'; readonly id: number; readonly events: number }
  /** Request `id` is no longer wanted. What has begun is finished. */
  | { readonly type: 'cancel'; readonly id: number };

export interface CompileReply {
  readonly executable: number;
  /** The inputs that outputs depend on. */
  readonly inputs: readonly PortInfo[];
}

export interface RunReply {
  readonly outputs: Readonly<Record<string, TensorData>>;
}

export type WorkerMessage =
  | { readonly type: 'done'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failed'; readonly id: number; readonly error: WireError }
  | { readonly type: 'event'; readonly id: number; readonly event: unknown };

/** An error as plain data. Structured clone alone would lose `code`, `fix` and `details`. */
export interface WireError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
  readonly fix?: string;
  readonly details?: unknown;
  readonly cause?: WireError;
  /** What was thrown when it was not an Error. */
  readonly thrown?: unknown;
}

const MAX_CAUSES = 8;

/** An error, ready for `postMessage`. */
export function packError(error: unknown, depth = 0): WireError {
  if (!(error instanceof Error) && !isQuerentError(error)) return { name: 'Thrown', message: String(error), thrown: cloneable(error) };
  const code: unknown = 'code' in error ? error.code : undefined;
  return {
    name: error.name,
    message: error.message,
    ...(error.stack === undefined ? {} : { stack: error.stack }),
    ...(typeof code === 'string' ? { code } : {}),
    ...(isQuerentError(error) ? { ...(error.fix === undefined ? {} : { fix: error.fix }), details: cloneable(error.details) } : {}),
    ...(error.cause === undefined || depth >= MAX_CAUSES ? {} : { cause: packError(error.cause, depth + 1) }),
  };
}

/** The error again: a QuerentError where it was one, else an Error of that name; a thrown non-Error comes out as it was. */
export function unpackError(wire: WireError): unknown {
  if (wire.name === 'Thrown' && 'thrown' in wire) return wire.thrown;
  const cause = wire.cause === undefined ? {} : { cause: unpackError(wire.cause) };
  const code = wire.code;
  if (code !== undefined && isErrorCode(code)) {
    const error = new QuerentError(code, wire.message, { ...(wire.fix === undefined ? {} : { fix: wire.fix }), details: wire.details, ...cause });
    if (wire.stack !== undefined) error.stack = wire.stack;
    return error;
  }
  const error = new Error(wire.message, cause);
  error.name = wire.name;
  if (wire.stack !== undefined) error.stack = wire.stack;
  return code === undefined ? error : Object.assign(error, { code });
}

function isErrorCode(code: string): code is keyof typeof ERROR_CODES {
  return Object.hasOwn(ERROR_CODES, code);
}

/** `value` where it can cross, else what it prints as. */
function cloneable(value: unknown): unknown {
  try {
    return structuredClone(value);
  } catch {
    return String(value);
  }
}
