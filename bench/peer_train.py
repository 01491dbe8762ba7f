"""The training step of bench/train.bench.ts in PyTorch, fp32 on the CPU: the same Q-Former, losses, passes and AdamW.

    python bench/peer_train.py '{"hidden_size": 768, ..., "batch": 8, "steps": 5, "threads": 2}'    prints one line of JSON

With "shares": false each pass computes what BLIP-2's published code (LAVIS, Blip2Qformer.forward) computes: ITG over the keys and values of the
query pass, all else anew, the last layer for every token. With "shares": true it is written for speed: keys and values of the image once for
all passes, the last layer only where it is read. (Querent's graph also shares what rows of the same text have in common.) Attention is torch's fused one, AdamW is torch's fused one, in both.
"""
import json
import resource
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    sys.exit(3)


class Attention(nn.Module):
    def __init__(self, hidden, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(hidden, hidden), nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.dense, self.norm = nn.Linear(hidden, hidden), nn.LayerNorm(hidden, eps=1e-12)

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def memory(self, x):
        return self.split(self.key(x)), self.split(self.value(x))

    def forward(self, x, memory, mask=None):
        mixed = F.scaled_dot_product_attention(self.split(self.query(x)), memory[0], memory[1], attn_mask=mask)
        return self.norm(x + self.dense(mixed.transpose(1, 2).reshape(x.shape)))


class FeedForward(nn.Module):
    def __init__(self, hidden, inner):
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(hidden, inner), nn.Linear(inner, hidden), nn.LayerNorm(hidden, eps=1e-12)

    def forward(self, x):
        return self.norm(x + self.down(F.gelu(self.up(x))))


class Layer(nn.Module):
    def __init__(self, c, looks):
        super().__init__()
        hidden, heads = c["hidden_size"], c["num_attention_heads"]
        self.attention = Attention(hidden, hidden, heads)
        self.cross = Attention(hidden, c["encoder_hidden_size"], heads) if looks else None
        self.text, self.query = FeedForward(hidden, c["intermediate_size"]), FeedForward(hidden, c["intermediate_size"])


def joined(parts):
    return tuple(torch.cat(kind, 2) for kind in zip(*parts))


class QFormer(nn.Module):
    def __init__(self, c):
        super().__init__()
        hidden, shared = c["hidden_size"], c["image_text_hidden_size"]
        self.c = c
        self.query_tokens = nn.Parameter(torch.randn(1, c["num_query_tokens"], hidden) * 0.02)
        self.words, self.positions = nn.Embedding(c["vocab_size"], hidden), nn.Embedding(512, hidden)
        nn.init.normal_(self.words.weight, std=0.02), nn.init.normal_(self.positions.weight, std=0.02)
        self.norm = nn.LayerNorm(hidden, eps=1e-12)
        self.layers = nn.ModuleList(Layer(c, i % c["cross_attention_frequency"] == 0) for i in range(c["num_hidden_layers"]))
        self.vision_projection, self.text_projection, self.itm_head = nn.Linear(hidden, shared), nn.Linear(hidden, shared), nn.Linear(hidden, 2)
        self.transform, self.transform_norm = nn.Linear(hidden, hidden), nn.LayerNorm(hidden, eps=1e-12)
        self.head_bias = nn.Parameter(torch.zeros(c["vocab_size"]))
        self.temperature = nn.Parameter(torch.tensor(0.07))

    def embed_queries(self, batch):
        return self.norm(self.query_tokens.expand(batch, -1, -1))

    def embed_text(self, ids):
        return self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]])

    def run(self, wanted, queries=None, text=None, query_mask=None, text_mask=None, past=None, image=None):
        memories = []
        for i, layer in enumerate(self.layers):
            own = [layer.attention.memory(x) for x in (queries, text) if x is not None]
            memory = joined(own if past is None else [past[i], *own])
            memories.append(memory)
            if i == len(self.layers) - 1 and self.c["shares"]:
                if wanted == "queries":
                    text = None
                else:
                    queries = None
                if wanted == "first":
                    text = text[:, :1]
            if queries is not None:
                queries = layer.attention(queries, memory, query_mask)
                if image is not None and image[i] is not None:
                    queries = layer.cross(queries, image[i])
                queries = layer.query(queries)
            if text is not None:
                text = layer.text(layer.attention(text, memory, text_mask))
        return (queries if wanted == "queries" else text[:, :1] if wanted == "first" else text), memories

    def forward(self, features, ids, mask, image_ids, image_noise, text_noise):
        c, batch = self.c, ids.shape[0]
        image = [None if layer.cross is None else layer.cross.memory(features) for layer in self.layers]
        queries, memories = self.run("queries", queries=self.embed_queries(batch), image=image)
        padding = (1.0 - mask.float())[:, None, None, :] * torch.finfo(torch.float32).min

        # ITC
        first, _ = self.run("first", text=self.embed_text(ids), text_mask=padding)
        image_features = F.normalize(self.vision_projection(queries), dim=-1)
        text_features = F.normalize(self.text_projection(first[:, 0]), dim=-1)
        similarity = (image_features @ text_features.T).amax(1) / self.temperature
        same = (image_ids[:, None] == image_ids[None, :]).float()
        targets = 0.9 * same / same.sum(1, keepdim=True) + 0.1 / batch
        cross = lambda scores: -(targets * scores.log_softmax(-1)).sum(1).mean()
        itc = (cross(similarity) + cross(similarity.T)) / 2

        # ITM
        barred = same * -1e6
        negative_image = (similarity.detach().T + image_noise + barred).argmax(1)
        negative_text = (similarity.detach() + text_noise + barred).argmax(1)
        own = torch.arange(batch)
        rows, texts = torch.cat([own, negative_image, own]), torch.cat([own, own, negative_text])
        ones = torch.zeros(3 * batch, 1, 1, c["num_query_tokens"])
        seen = torch.cat([ones, padding[texts]], 3)
        if c["shares"]:
            picked = [None if kv is None else (kv[0][rows], kv[1][rows]) for kv in image]
        else:
            picked = [None if layer.cross is None else layer.cross.memory(features[rows]) for layer in self.layers]
        fused, _ = self.run("queries", queries=self.embed_queries(3 * batch), text=self.embed_text(ids[texts]), query_mask=seen, text_mask=seen, image=picked)
        labels = torch.cat([torch.ones(batch), torch.zeros(2 * batch)]).long()
        itm = F.cross_entropy(self.itm_head(fused.mean(1)), labels)

        # ITG
        prompt = torch.cat([torch.full((batch, 1), 1), ids[:, 1:]], 1)
        length = ids.shape[1]
        causal = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)
        own_mask = torch.maximum(causal[None, None] + padding, torch.tensor(torch.finfo(torch.float32).min))
        both = torch.cat([torch.zeros(batch, 1, length, c["num_query_tokens"]), own_mask], 3)
        text, _ = self.run("text", text=self.embed_text(prompt), text_mask=both, past=memories)
        logits = F.linear(self.transform_norm(F.gelu(self.transform(text))), self.words.weight, self.head_bias)
        wanted = ids.masked_fill(mask == 0, -100)
        itg = F.cross_entropy(logits[:, :-1].reshape(-1, c["vocab_size"]), wanted[:, 1:].reshape(-1), label_smoothing=0.1)
        return itc + itm + itg


def main(c):
    torch.set_num_threads(c["threads"])
    torch.manual_seed(1)
    model = QFormer(c)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02), nn.init.zeros_(module.bias)
    batch = c["batch"]
    gumbel = lambda: -torch.log(-torch.log(torch.rand(batch, batch) + 1e-12))
    feeds = (
        torch.randn(batch, c["patches"], c["encoder_hidden_size"]), torch.randint(2, c["vocab_size"], (batch, c["tokens"])),
        torch.ones(batch, c["tokens"], dtype=torch.long), torch.arange(batch), gumbel(), gumbel(),
    )
    decays = [p for p in model.parameters() if p.ndim != 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW([{"params": decays, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=1e-4, fused=True)
    seconds, cpu_seconds, losses = [], [], []
    for _ in range(c["steps"] + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
        optimiser.zero_grad(set_to_none=True)
        loss = model(*feeds)
        loss.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
        losses.append(loss.item())
    measured = sorted(seconds[1:])
    print(json.dumps({
        "name": f"torch {torch.__version__}", "secondsPerStep": measured[0], "medianSecondsPerStep": measured[len(measured) // 2],
        "cpuSecondsPerStep": min(cpu_seconds[1:]), "samplesPerSecond": batch / measured[0], "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "trainedParameters": sum(p.numel() for p in model.parameters()), "firstLoss": losses[0], "lastLoss": losses[-1],
    }))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
