"""Opens a folder that Querent trained with Python's transformers and writes its outputs beside it, in the form of the golden fixtures.

usage: python transformers-roundtrip.py FOLDER      (needs torch, transformers and safetensors; nothing is fetched)
"""
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from safetensors.torch import save_file
from transformers import Blip2ForConditionalGeneration

folder = sys.argv[1]
model, info = Blip2ForConditionalGeneration.from_pretrained(folder, output_loading_info=True, attn_implementation="eager", dtype=torch.float32)
problems = {key: sorted(map(str, info[key])) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
if problems:
    sys.exit(f"transformers does not take the folder as it is: {problems}")
model.eval()
torch.manual_seed(3)
config = model.config
queries, image = config.num_query_tokens, config.image_token_index
size = config.vision_config.image_size
text = torch.randint(10, 250, (2, 6))
ids = torch.cat([torch.full((2, queries), image), text], dim=1)
mask = torch.ones_like(ids)
inputs = {"pixel_values": torch.randn(2, 3, size, size), "input_ids": ids, "attention_mask": mask}
if config.text_config.is_encoder_decoder:
    inputs["labels"] = torch.randint(10, 250, (2, 5))
else:
    inputs["labels"] = torch.cat([torch.full((2, queries), -100), text], dim=1)
with torch.no_grad():
    out = model(**inputs)
save_file({key: value.contiguous() for key, value in inputs.items()}, os.path.join(folder, "inputs.safetensors"))
save_file({
    "vision_last_hidden_state": out.vision_outputs.last_hidden_state.contiguous(),
    "qformer_last_hidden_state": out.qformer_outputs.last_hidden_state.contiguous(),
    "logits": out.logits.contiguous(),
    "loss": out.loss.reshape(1).contiguous(),
}, os.path.join(folder, "expected.safetensors"))
with open(os.path.join(folder, "expected.json"), "w") as file:
    json.dump({"image_token_id": image, "generations": []}, file)
print("opened", sum(p.numel() for p in model.parameters()), "parameters; logits", tuple(out.logits.shape))
