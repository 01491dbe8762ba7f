// A folder to begin a plugin with: what `querent plugin new` and `npm create querent-plugin` write
export { createPlugin } from './create-plugin.ts';
export type { CreatedPlugin } from './create-plugin.ts';
export { TEMPLATE_KINDS } from './kinds.ts';
export type { TemplateKind } from './kinds.ts';
