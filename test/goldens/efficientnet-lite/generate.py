"""Numbers for the EfficientNet-Lite0 graph, from a plain float64 forward pass in numpy that shares nothing with it.

    pip install numpy safetensors
    python generate.py            # writes expected.safetensors beside this file

Weights and image are not stored: both sides draw them from a counter-based hash of the tensor's name (`noise` here,
`noise` in test/parity/efficientnet-lite.test.ts). Two image sizes, so that TensorFlow's SAME padding is met in both of
its cases: even and odd totals.
"""
import os
import numpy as np
from safetensors.numpy import save_file

EPSILON = 1e-3
STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]


def noise(name, shape):
    """Uniform in -1 .. 1: FNV-1a of the name seeds a murmur3 finaliser over the element's index."""
    seed = np.uint32(2166136261)
    with np.errstate(over='ignore'):
        for byte in name.encode():
            seed = np.uint32((int(seed) ^ byte) * 16777619 & 0xFFFFFFFF)
        x = np.arange(int(np.prod(shape)), dtype=np.uint32) * np.uint32(2654435761) + seed
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x85EBCA6B)
        x ^= x >> np.uint32(13)
        x *= np.uint32(0xC2B2AE35)
        x ^= x >> np.uint32(16)
    return (x.astype(np.float64) / 2**31 - 1).astype(np.float32).astype(np.float64).reshape(shape)


def float32(x):
    return x.astype(np.float32).astype(np.float64)


def batch_norm(x, scope):
    c = x.shape[0]
    weight = float32(1 + 0.25 * noise(scope + '.weight', (c,)))
    bias = float32(0.5 * noise(scope + '.bias', (c,)))
    mean = float32(0.25 * noise(scope + '.running_mean', (c,)))
    var = float32(1 + 0.5 * noise(scope + '.running_var', (c,)))
    affine = lambda v: v[:, None, None]
    return (x - affine(mean)) / np.sqrt(affine(var) + EPSILON) * affine(weight) + affine(bias)


def same(n, kernel, stride):
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    return total // 2, total - total // 2


def conv(x, scope, out, kernel, stride, groups):
    per_group = x.shape[0] // groups
    w = float32(noise(scope + '.weight', (out, per_group, kernel, kernel)) * np.sqrt(6 / (per_group * kernel * kernel)))
    x = np.pad(x, ((0, 0), same(x.shape[1], kernel, stride), same(x.shape[2], kernel, stride)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::stride, ::stride]
    if groups == 1:
        return np.einsum('cyxij,ocij->oyx', windows, w, optimize=True)
    return np.einsum('cyxij,cij->cyx', windows, w[:, 0])


def relu6(x):
    return np.clip(x, 0, 6)


def forward(x):
    x = relu6(batch_norm(conv(x, '_conv_stem', 32, 3, 2, 1), '_bn0'))
    i, channels = 0, 32
    for repeats, kernel, first_stride, expand, out in STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            scope, inner, y = f'_blocks.{i}.', channels * expand, x
            if expand != 1:
                y = relu6(batch_norm(conv(y, scope + '_expand_conv', inner, 1, 1, 1), scope + '_bn0'))
            y = relu6(batch_norm(conv(y, scope + '_depthwise_conv', inner, kernel, stride, inner), scope + '_bn1'))
            y = batch_norm(conv(y, scope + '_project_conv', out, 1, 1, 1), scope + '_bn2')
            x = x + y if stride == 1 and channels == out else y
            i, channels = i + 1, out
    head = relu6(batch_norm(conv(x, '_conv_head', 1280, 1, 1, 1), '_bn1'))
    return {'block15': x, 'head': head}


result = {}
for size in (64, 75):
    for name, x in forward(noise(f'image.{size}', (3, size, size))).items():
        result[f'{name}.{size}'] = np.ascontiguousarray(x.reshape(x.shape[0], -1).T[None]).astype(np.float32)
        print(name, size, result[f'{name}.{size}'].shape, float(np.abs(x).max()), float(np.abs(x).mean()))
save_file(result, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'expected.safetensors'))
