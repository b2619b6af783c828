"""Goldens of the non-recurrent sequence models, and weights to go with them.

`golden/sequence.npz` holds outputs, in float64, of the original PyTorch modules:
EfficientSED at 7bef42e with rotary-embedding-torch 0.9.1 and the recurrent form
(`Mamba2.step`) of state-spaces/mamba at e9594ce; 2 layers of width 128 on `frames()`.
`golden/manifests/sequence.json` holds their keys and shapes.
"""

import re

import numpy as np

from tests import goldens, synth

# Added to the synthetic weights, whose gains of one need another name.
OFFSETS = {"gamma": 1, "D": 1, "A_log": 1, "dt_bias": -3}
# Original key, our path; matrices are transposed.
KEYS = {
    "attention": (
        (r"0\.(weight|bias)", r"embed/\1"),
        (r"1\.layers\.(\d+)\.norm\.gamma", r"block_\1/norm1/scale"),
        (r"1\.layers\.(\d+)\.to_qkv\.(weight)", r"block_\1/attn/qkv/\2"),
        (r"1\.layers\.(\d+)\.to_gates\.(weight|bias)", r"block_\1/attn/gates/\2"),
        (r"1\.layers\.(\d+)\.to_out\.0\.(weight)", r"block_\1/attn/proj/\2"),
    ),
    "transformer": (
        (r"0\.(weight|bias)", r"embed/\1"),
        (r"1\.layers\.(\d+)\.0\.norm\.gamma", r"block_\1/norm1/scale"),
        (r"1\.layers\.(\d+)\.0\.to_qkv\.(weight)", r"block_\1/attn/qkv/\2"),
        (r"1\.layers\.(\d+)\.0\.to_gates\.(weight|bias)", r"block_\1/attn/gates/\2"),
        (r"1\.layers\.(\d+)\.0\.to_out\.0\.(weight)", r"block_\1/attn/proj/\2"),
        (r"1\.layers\.(\d+)\.1\.net\.0\.gamma", r"block_\1/norm2/scale"),
        (r"1\.layers\.(\d+)\.1\.net\.1\.(weight|bias)", r"block_\1/mlp/fc1/\2"),
        (r"1\.layers\.(\d+)\.1\.net\.4\.(weight|bias)", r"block_\1/mlp/fc2/\2"),
        (r"1\.norm\.gamma", r"norm/scale"),
    ),
    "mamba": (
        (r"0\.(weight|bias)", r"embed/\1"),
        (r"1\.weight", r"norm/scale"),
        (r"1\.bias", r"norm/bias"),
        (r"2\.layers\.(\d+)\.0\.(dt_bias|A_log|D)", r"block_\1/mixer/\2"),
        (r"2\.layers\.(\d+)\.0\.(in_proj|out_proj)\.(weight)", r"block_\1/mixer/\2/\3"),
        (r"2\.layers\.(\d+)\.0\.conv1d\.(weight|bias)", r"block_\1/mixer/conv/\2"),
        (r"2\.layers\.(\d+)\.1\.weight", r"block_\1/norm/scale"),
        (r"2\.layers\.(\d+)\.1\.bias", r"block_\1/norm/bias"),
    ),
}


def frames():
    return np.random.default_rng(7).standard_normal((2, 90, 96))


def params(kind):
    """Weights of the golden, under our names."""
    tree = {}
    for key, entry in goldens.manifest("sequence")[kind].items():
        if key.endswith("pos_encoding.freqs"):  # a constant
            continue
        value = synth.synth_tensor(key, entry["shape"], entry["dtype"], 0)
        value = value + np.float32(OFFSETS.get(key.split(".")[-1], 0))
        value = value.T.reshape(value.shape[-1], -1) if value.ndim > 1 else value
        *parents, name = path_of(kind, key).replace("weight", "kernel").split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def path_of(kind, key):
    key = key.removeprefix("seq_model.")
    for pattern, path in KEYS[kind]:
        if match := re.fullmatch(pattern, key):
            return match.expand(path)
    raise KeyError(key)
