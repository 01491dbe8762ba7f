// Encoders, one paper each
export { default as vitPlugin, vit } from './vit.ts';
export type { VitConfig } from './vit.ts';
export { default as evaPlugin, eva } from './eva.ts';
export type { EvaConfig } from './eva.ts';
export { default as blipVisionPlugin } from './blip-vision.ts';
export { default as efficientNetLitePlugin, efficientNetLite } from './efficientnet-lite.ts';
export type { EfficientNetLiteConfig } from './efficientnet-lite.ts';

// For writing another one
export { ACTIVATIONS, activation } from './activation.ts';
export { patchGrid, resizePositions } from './positions.ts';
export type { Grid } from './positions.ts';

// The list of plugins
export { default as encoderPlugins } from './plugins.ts';
