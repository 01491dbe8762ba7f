"""Pillow's side of images.bench.ts, and the fixture of packages/images (pip install pillow numpy).

    python bench/peer_images.py             one line of JSON: milliseconds, the best of thirty rounds
    python bench/peer_images.py --fixture   rewrites packages/images/fixtures/pillow-resize.json
"""
import base64
import io
import json
import pathlib
import random
import sys
import time

import numpy
import PIL
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]


def photo():
    """Smooth waves with noise, 500 x 375: the same picture as in images.bench.ts, up to rounding."""
    y, x = numpy.mgrid[0:375, 0:500]
    waves = [128 + 90 * numpy.sin(x / (31 + 7 * c)) * numpy.cos(y / (23 + 5 * c)) for c in range(3)]
    noise = numpy.random.default_rng(1).normal(0, 8, (375, 500, 3))
    return Image.fromarray(numpy.clip(numpy.stack(waves, -1) + noise, 0, 255).astype(numpy.uint8))


def best_ms(run, repeats=10, rounds=30):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        times.append((time.perf_counter() - start) / repeats * 1e3)
    return min(times)


def measure(path):
    jpeg = pathlib.Path(path).read_bytes() if path else None
    if jpeg is None:
        out = io.BytesIO()
        photo().save(out, "JPEG", quality=90)
        jpeg = out.getvalue()
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    resize = best_ms(lambda: image.resize((224, 224), Image.Resampling.BICUBIC))
    whole = best_ms(lambda: Image.open(io.BytesIO(jpeg)).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC), 5)
    print(json.dumps({"pillow": PIL.__version__, "size": image.size, "resizeMs": round(resize, 3), "decodeAndResizeMs": round(whole, 3)}))


def fixture():
    random.seed(5)
    rng = numpy.random.default_rng(5)
    encode = lambda pixels: base64.b64encode(pixels.tobytes()).decode()
    cases = []
    for i in range(48):
        w, h, to_w, to_h = (random.randint(1, 40) for _ in range(4))
        pixels = rng.integers(0, 256, (h, w, 3), dtype=numpy.uint8)
        if i % 3 == 0:
            pixels = (pixels > 127).astype(numpy.uint8) * 255
        box = None
        if i % 4 == 1 or i % 4 == 2:
            x, y = random.random() * w * 0.5, random.random() * h * 0.5
            box = [x, y, x + (w - x) * random.uniform(0.2, 1), y + (h - y) * random.uniform(0.2, 1)]
        name = FILTERS[i % 6]
        result = Image.fromarray(pixels).resize((to_w, to_h), Image.Resampling[name.upper()], box=box)
        cases.append({"filter": name, "width": to_w, "height": to_h, "box": box, "data": encode(numpy.asarray(result)),
                      "source": {"width": w, "height": h, "data": encode(pixels)}})
    path = HERE.parent / "packages/images/fixtures/pillow-resize.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"pillow": PIL.__version__, "cases": cases}) + "\n")


if "--fixture" in sys.argv:
    fixture()
else:
    measure(next((a for a in sys.argv[1:] if not a.startswith("--")), None))
