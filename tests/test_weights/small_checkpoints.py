"""Checkpoints with the keys of the released ones and a sixteenth of their width."""

import functools
import json
import zlib

import numpy as np

from jaxsed.models import asit, ast, atst_frame, beats, fpasst, m2d, sed, ssast
from jaxsed.models.vit import VitConfig
from jaxsed.weights import architecture, torch_file_writer
from tests import goldens

MANIFESTS = {
    "ATST-F": "atst_frame",
    "ATST-F_rnn": "atst_frame",
    "ATST-F_bilstm256": "atst_frame",
    "BEATs": "beats",
    "BEATs_rnn": "beats",
    "fpasst": "fpasst",
    "fpasst_rnn": "fpasst",
    "M2D": "m2d",
    "M2D_rnn": "m2d",
    "ASIT": "asit",
    "ASIT_rnn": "asit",
    "frame_mn06": "frame_mn06",
    "frame_mn10": "frame_mn10",
}
SIZES = {768: 48, 3072: 192, 2304: 144, 3840: 240}
HIDDEN = {"ATST-F_bilstm256": 256, "fpasst_rnn": 1024}  # others: 2048
SMALL_HIDDEN = 8

_VIT = VitConfig(width=48, mlp_width=192)
SMALL = {
    "atst_frame": lambda dtype, compression: atst_frame.atst_frame(
        dtype, VitConfig(width=48, mlp_width=192, qkv_bias=False)
    ),
    "beats": lambda dtype, compression: beats.Beats(
        beats.BeatsConfig(width=48, mlp_width=192, patch_width=32), dtype
    ),
    "fpasst": lambda dtype, compression: fpasst.fpasst(dtype, _VIT),
    "m2d": lambda dtype, compression: m2d.m2d(dtype, _VIT),
    "asit": lambda dtype, compression: asit.asit(dtype, _VIT),
    "ast": lambda dtype, compression, **more: ast.ast(dtype, config=_VIT, **more),
    "ast_s16": lambda dtype, compression: ast.ast_s16(dtype, config=_VIT),
    "ssast": lambda dtype, compression: ssast.ssast(dtype, config=_VIT),
    "ssast_s10": lambda dtype, compression: ssast.ssast_s10(dtype, config=_VIT),
    "ssast_frame": lambda dtype, compression: ssast.ssast_frame(dtype, config=_VIT),
}


def shrink_encoders(monkeypatch):
    """Makes the encoders' full names build small ones, and traces each only once."""
    traced = functools.cache(
        lambda text, trace=architecture.parameter_shapes: trace(json.loads(text))
    )
    for name, encoder in SMALL.items():
        monkeypatch.setitem(sed.ENCODERS, name, encoder)
    monkeypatch.setattr(
        architecture,
        "parameter_shapes",
        lambda described: traced(
            json.dumps({k: described[k] for k in described if k in _TRACED})
        ),
    )


_TRACED = ("encoder", "sequence", "head", "frontend", "vocabulary")


def shrunk(name, key, shape):
    """The small shape of a tensor of a manifest."""
    sizes = dict(SIZES)
    if "pos_conv" in key and len(shape) == 3 and shape[0] != 1:
        return [48, 3, 128]
    if "grep_linear.weight" in key:
        return [8, 4]
    if key.endswith(("post_extract_proj.weight", "patch_embedding.weight")) or (
        "encoder" not in key.split(".") and "layer_norm" in key
    ):
        sizes[512] = 32
    if key.startswith(("seq_model", "strong_head", "weak_head")) and (
        name.endswith(("_rnn", "_bilstm256"))
    ):
        hidden = HIDDEN.get(name, 2048)
        gates = 4 if "lstm" in name else 3
        for times in (1, 2, gates):
            sizes[times * hidden] = times * SMALL_HIDDEN
    return [sizes.get(size, size) for size in shape]


def arrays(shapes):
    """Normal numbers, different for each key; zeros for counts."""
    made = {}
    for key, (shape, dtype) in shapes.items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if dtype == "int64":
            made[key] = np.array(rng.integers(1, 1000), np.int64).reshape(shape)
        else:
            made[key] = rng.standard_normal(shape, np.float32)
    return made


def state_dict(name):
    """A small released checkpoint, as in the manifest `name`."""
    made = arrays(
        {
            key: (shrunk(name, key, entry["shape"]), entry["dtype"])
            for key, entry in goldens.manifest(name).items()
        }
    )
    return _tied(made)


def external(start):
    """A small checkpoint of an encoder's authors: the entry that begins with `start`."""
    manifest = goldens.manifest("external")
    (name,) = [name for name in manifest if name.startswith(start)]
    made = arrays(
        {
            key: (shrunk("", key, entry["shape"]), entry["dtype"])
            for key, entry in manifest[name].items()
        }
    )
    return _tied(made)


def _tied(made):
    tables = [key for key in made if "relative_attention_bias" in key]
    return made | dict.fromkeys(tables, made[tables[0]] if tables else None)


def behind(prefix, tensors):
    """The same tensors with a prefix."""
    return {prefix + key: array for key, array in tensors.items()}


def write(path, tensors):
    """Writes a state dict as PyTorch would; returns the path."""
    torch_file_writer.write(path, tensors)
    return path
