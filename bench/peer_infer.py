"""What `querent bench infer` measures, in transformers on the CPU: the same folder, prompt, tokens and threads.

    python bench/peer_infer.py '{"folder": "...", "threads": 2, "newTokens": 32, "numBeams": 5, "rounds": 3}'    prints one line of JSON

bf16 where the processor has instructions for it, else float32; "dtype" in the arguments overrules. Exit code 3: no torch or transformers.
"""
import json
import os
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
try:
    import torch
    from transformers import AutoTokenizer, Blip2ForConditionalGeneration
except ImportError:
    sys.exit(3)


def has_bf16():
    try:
        with open("/proc/cpuinfo") as file:
            return "avx512_bf16" in file.read()
    except OSError:
        return False


def fastest(rounds, work):
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def main(given):
    torch.set_num_threads(given["threads"])
    dtype = getattr(torch, given.get("dtype", "bfloat16" if has_bf16() else "float32"))
    begun = time.perf_counter()
    model = Blip2ForConditionalGeneration.from_pretrained(given["folder"], dtype=dtype).eval()
    tokenizer = AutoTokenizer.from_pretrained(given["folder"])
    load = time.perf_counter() - begun
    size = model.config.vision_config.image_size
    queries = model.config.num_query_tokens
    torch.manual_seed(1)
    pixels = (torch.rand(1, 3, size, size) * 2 - 1).to(dtype)
    ids = tokenizer("a photo of", return_tensors="pt")["input_ids"]
    mask = torch.ones(1, queries + ids.shape[1], dtype=torch.long)

    @torch.inference_mode()
    def encode():
        features = model.vision_model(pixel_values=pixels).last_hidden_state
        tokens = model.query_tokens.expand(1, -1, -1)
        states = model.qformer(query_embeds=tokens, encoder_hidden_states=features).last_hidden_state
        return model.language_projection(states.to(model.language_projection.weight.dtype))

    rounds = given["rounds"]
    encode_seconds = fastest(rounds, encode)
    prompt = encode()

    @torch.inference_mode()
    def write(tokens, beams):
        text = model.get_input_embeddings()(ids)
        embeds = torch.cat([prompt, text], 1)
        model.language_model.generate(
            inputs_embeds=embeds, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, num_beams=beams, do_sample=False
        )

    write(2, 1)
    prefill = fastest(rounds, lambda: write(1, 1))
    tokens, beams = given["newTokens"], given["numBeams"]
    greedy = fastest(rounds, lambda: write(tokens, 1))
    beam = fastest(rounds, lambda: write(tokens, beams))
    print(json.dumps({
        "name": "transformers",
        "precision": str(dtype).removeprefix("torch."),
        "loadSeconds": load,
        "encodeSeconds": encode_seconds,
        "prefillSeconds": prefill,
        "tokensPerSecond": (tokens - 1) / (greedy - prefill) if greedy > prefill else tokens / greedy,
        "beamCaptionsPerSecond": 1 / beam,
        "numBeams": beams,
        "newTokens": tokens,
        "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))


main(json.loads(sys.argv[1]))
