/**
 * The TypeScript type of a JSON Schema written in place: `defineTask`'s `run` knows its input from the schema alone. Knows
 * `type`, `properties`, `required`, `items`, `enum`, `const`, `anyOf` and `oneOf`; anything else is `unknown`.
 */
import type { JsonSchema } from './contracts/plugin.ts';

interface Primitives {
  string: string;
  number: number;
  integer: number;
  boolean: boolean;
  null: null;
}

type Properties<P, Required extends PropertyKey> = {
  -readonly [K in keyof P as K extends Required ? K : never]: SchemaType<P[K]>;
} & {
  -readonly [K in keyof P as K extends Required ? never : K]?: SchemaType<P[K]>;
};

type RequiredOf<S> = S extends { readonly required: readonly (infer R extends string)[] } ? R : never;

/** Writes an intersection out as one object. */
type Flat<T> = { [K in keyof T]: T[K] };

/** What a value that fits the schema `S` looks like. */
export type SchemaType<S> = S extends { readonly const: infer C }
  ? C
  : S extends { readonly enum: readonly (infer E)[] }
    ? E
    : S extends { readonly anyOf: readonly (infer A)[] }
      ? SchemaType<A>
      : S extends { readonly oneOf: readonly (infer A)[] }
        ? SchemaType<A>
        : S extends { readonly type: infer K extends keyof Primitives }
          ? Primitives[K]
          : S extends { readonly type: readonly (infer K extends keyof Primitives)[] }
            ? Primitives[K]
            : S extends { readonly type: 'array'; readonly items: infer I extends JsonSchema }
              ? SchemaType<I>[]
              : S extends { readonly type: 'array' }
                ? unknown[]
                : S extends { readonly type: 'object'; readonly properties: infer P }
                  ? Flat<Properties<P, RequiredOf<S>>>
                  : S extends { readonly type: 'object' }
                    ? Record<string, unknown>
                    : unknown;
