"""Encodes one batch of noise with transformers whenever a line comes in, and prints the seconds: the peer of bench/encode.mjs.

    python bench/peer_encode.py FOLDER bfloat16|float32 BATCH THREADS
"""
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from transformers import Blip2ForConditionalGeneration

folder, dtype, batch, threads = sys.argv[1], getattr(torch, sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(threads)
model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
size = model.config.vision_config.image_size
pixels = (torch.rand(batch, 3, size, size) * 2 - 1).to(dtype)
print("ready", flush=True)
for _ in sys.stdin:
    with torch.inference_mode():
        begun = time.perf_counter()
        features = model.vision_model(pixel_values=pixels).last_hidden_state
        states = model.qformer(query_embeds=model.query_tokens.expand(batch, -1, -1), encoder_hidden_states=features).last_hidden_state
        model.language_projection(states.to(model.language_projection.weight.dtype))
        print(time.perf_counter() - begun, flush=True)
