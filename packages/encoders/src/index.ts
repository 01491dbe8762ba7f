// Encoders, one paper each
export { default as vitPlugin, vit } from './vit.ts';
export type { VitConfig } from './vit.ts';
export { default as evaPlugin, eva, instructBlipVision } from './eva.ts';
export type { EvaConfig } from './eva.ts';
export { default as blipVisionPlugin } from './blip-vision.ts';
export { default as clipVisionPlugin, clipImageEmbeds, clipVision } from './clip-vision.ts';
export type { ClipVisionConfig } from './clip-vision.ts';
export { default as siglipVisionPlugin, siglipVision } from './siglip-vision.ts';
export type { SiglipVisionConfig } from './siglip-vision.ts';
export { default as dinov2Plugin, dinov2 } from './dinov2.ts';
export type { Dinov2Config } from './dinov2.ts';
export { default as efficientNetLitePlugin, efficientNetLite } from './efficientnet-lite.ts';
export type { EfficientNetLiteConfig } from './efficientnet-lite.ts';
export { openOnnxEncoder, default as onnxPlugin } from './onnx-file.ts';
export type { OnnxEncoderConfig } from './onnx-file.ts';

// Dual encoders: images and texts in one space
export { clip, clipFamily, clipText } from './clip.ts';
export type { ClipConfig, ClipTextConfig } from './clip.ts';
export { siglip, siglipFamily, siglipText } from './siglip.ts';
export type { SiglipConfig, SiglipTextConfig } from './siglip.ts';

// For writing another one
export { ACTIVATIONS, activation } from './activation.ts';
export { patchGrid, resizePositions } from './positions.ts';
export type { Grid, ResizePositionsOptions } from './positions.ts';

// The lists
export { dualEncoders, default as encoderPlugins } from './plugins.ts';
