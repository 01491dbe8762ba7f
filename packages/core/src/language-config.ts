/** The config of a language model as it is built: what the file says, what its class assumes where it is silent, and what the weights decide. */
import type { ValidateOptions } from './config.ts';
import { validate } from './config.ts';
import type { LanguageModelPlugin } from './contracts/language-model.ts';

/**
 * @param given the config of a file
 * @param has is there a tensor of this name, under the language model's own root? Undefined where there are no weights: the file alone decides.
 * @throws QuerentError QRT_CONFIG_INVALID with all mistakes at once.
 */
export function languageConfig(plugin: LanguageModelPlugin, given: unknown, has: ((parameterName: string) => boolean) | undefined, where: ValidateOptions): unknown {
  const isObject = typeof given === 'object' && given !== null && !Array.isArray(given);
  const config = validate<unknown>(plugin.configSchema, isObject ? { ...plugin.defaults, ...given } : given, where);
  return (has === undefined ? undefined : plugin.fit?.(config, has)) ?? config;
}
