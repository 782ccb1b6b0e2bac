"""The transformer: a BERT encoder of any size read from safetensors, mean over its tokens, three heads in one linear layer.

Outputs, in this order: log-odds of hate, log-odds of offence, and scores of the three classes hate, offensive, neither.

Most texts that it is asked about are clearly harmless, and two layers see that. A second head behind them guesses the outputs; where its guess of
the log-odds of hate is low enough it stands, and the other layers are spared. Source: J. Xin and others, DeeBERT, 2020.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

OUTPUTS = ["hate", "offence", "class_hate", "class_offensive", "class_neither"]


class Layer(nn.Module):
    def __init__(self, width, inner, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, mask):
        batch, length, width = x.shape
        size = width // self.heads
        query, key, value = (f(x).view(batch, length, self.heads, size).transpose(1, 2) for f in (self.query, self.key, self.value))
        if torch.onnx.is_in_onnx_export():
            weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(size), dim=-1)
            seen = weights @ value
        else:
            seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        seen = self.out(seen.transpose(1, 2).reshape(batch, length, width))
        x = self.norm1(x + F.dropout(seen, self.dropout, self.training))
        inner = self.down(F.gelu(self.up(x)))
        return self.norm2(x + F.dropout(inner, self.dropout, self.training))


def mean(x, present):
    """The mean over the tokens that are there."""
    if present is None:
        return x.mean(1)
    kept = present[..., None].to(x.dtype)
    return (x * kept).sum(1) / kept.sum(1)


class Early(nn.Module):
    """What the first layers guess of the outputs, and the guess of the first below which it stands. early.py fits both. It looks at each token: the
    highest of each number tells of one bad word among many, which a mean would hide."""

    AFTER, INNER = 2, 32

    def __init__(self, width):
        super().__init__()
        self.up, self.down = nn.Linear(width, self.INNER), nn.Linear(2 * self.INNER, len(OUTPUTS))
        self.register_buffer("stands_below", torch.tensor(-1e9))

    def forward(self, x, present=None):
        """x [batch, length, width], from the first layers. Gives [batch, 5]."""
        seen = F.gelu(self.up(x))
        highest = seen if present is None else seen.masked_fill(~present[..., None], -1e4)
        return self.down(torch.cat([mean(seen, present), highest.amax(1)], 1))


class Encoder(nn.Module):
    def __init__(self, vocabulary, width, layers, heads, inner, positions, dropout=0.1):
        super().__init__()
        self.dropout = dropout
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(width, inner, heads, dropout) for _ in range(layers))
        self.head = nn.Linear(width, len(OUTPUTS))
        self.early = None
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def of(cls, state):
        """An encoder of the shape and with the weights of a checkpoint."""
        tokens, width = state["words.weight"].shape
        layers = len({name.split(".")[1] for name in state if name.startswith("layers.")})
        model = cls(tokens, width, layers, width // 32, state["layers.0.up.weight"].shape[0], state["places.weight"].shape[0])
        if any(name.startswith("early.") for name in state):
            model.early = Early(width)
        model.load_state_dict(state)
        return model

    def first(self, ids, mask=None):
        """What the first layers make of ids [batch, length]."""
        x = self.words(ids) + self.places.weight[: ids.shape[1]]
        x = F.dropout(self.norm(x), self.dropout, self.training)
        for layer in self.layers[: Early.AFTER]:
            x = layer(x, mask)
        return x

    def rest(self, x, present=None, mask=None):
        """The outputs [batch, 5] for what `first` gave."""
        for layer in self.layers[Early.AFTER :]:
            x = layer(x, mask)
        return self.head(F.dropout(mean(x, present), self.dropout, self.training))

    def forward(self, ids, present=None):
        """ids [batch, length]; present [batch, length] bool, None where every sequence is full. Gives [batch, 5], of all layers."""
        mask = None if present is None else present[:, None, None, :]
        return self.rest(self.first(ids, mask), present, mask)


def pretrained(folder: Path, kept_tokens: list[int], positions: int) -> Encoder:
    """Reads BERT weights, with the embeddings of the tokens kept alone."""
    config = json.loads((folder / "config.json").read_text())
    model = Encoder(len(kept_tokens), config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"],
                    config["intermediate_size"], positions)
    raw = {k.removeprefix("bert."): v.float() for k, v in load_file(str(folder / "model.safetensors")).items()}
    state = {
        "words.weight": raw["embeddings.word_embeddings.weight"][kept_tokens],
        # Every text is of BERT's first kind, whose embedding can be added once and for all.
        "places.weight": raw["embeddings.position_embeddings.weight"][:positions] + raw["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": raw["embeddings.LayerNorm.weight"], "norm.bias": raw["embeddings.LayerNorm.bias"],
    }
    names = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
             "out": "attention.output.dense", "norm1": "attention.output.LayerNorm", "up": "intermediate.dense",
             "down": "output.dense", "norm2": "output.LayerNorm"}
    for i in range(config["num_hidden_layers"]):
        for ours, theirs in names.items():
            for part in ("weight", "bias"):
                state[f"layers.{i}.{ours}.{part}"] = raw[f"encoder.layer.{i}.{theirs}.{part}"]
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith("head.") for name in missing), (missing, unexpected)
    return model
