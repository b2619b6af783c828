"""Writes this folder's checkpoints with PyTorch itself, and what is in them.

Needs `torch` and `numpy`; the tests only read what it wrote:

    python tests/golden/torch/make.py

`zip.pt` and `legacy.pt` hold the same tensors of every type and kind of view,
`lightning.ckpt` what a training framework leaves in a checkpoint, `model.pt` a whole
module, `script.pt` a TorchScript program. `expected.npz` has the tensors' values
(bfloat16 and float8 as their bits) by the path at which they are found.
"""

import argparse
import collections
import functools
import sys
import types
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent
GENERATOR = torch.Generator().manual_seed(0)


def tensors():
    """One state dict with all that a tensor can be."""
    weight = torch.randn(3, 4, generator=GENERATOR)
    shared = torch.arange(12, dtype=torch.float32)
    state = collections.OrderedDict(
        weight=weight,
        transposed=weight.t(),
        strided=weight[1:, ::2],
        row=shared[4:8],
        shared=shared,
        repeated=torch.tensor([1.5]).expand(4, 5),
        parameter=torch.nn.Parameter(torch.ones(2)),
        scalar=torch.tensor(3.5),
        empty=torch.zeros(0, 3),
        channels_last=torch.arange(24.0)
        .reshape(1, 2, 3, 4)
        .contiguous(memory_format=torch.channels_last),
        bfloat16=torch.randn(5, generator=GENERATOR).bfloat16(),
        float8=torch.tensor([0.5, -2.0]).to(torch.float8_e4m3fn),
        bool=torch.tensor([True, False, True]),
        complex64=torch.tensor([1 + 2j, -3j], dtype=torch.complex64),
        uint16=torch.tensor([1, 65535]).to(torch.uint16),
    )
    for name in ["float16", "float64", "int8", "uint8", "int16", "int32", "int64"]:
        state[name] = torch.tensor([0, 1, 100], dtype=getattr(torch, name))
    attributed = torch.nn.Parameter(torch.full((2,), 7.0))
    attributed.layer_decay = 0.5
    state["attributed"] = attributed
    state._metadata = {"": {"version": 1}}
    return state


class Config(dict):
    """A mapping of a class that the reader has not."""


def lightning():
    """What a training framework leaves in a checkpoint."""
    config = Config(width=768)
    config["parent"] = config
    return {
        "epoch": 7,
        "global_step": 2**40,
        "pytorch-lightning_version": "1.9.0",
        "state_dict": collections.OrderedDict(
            {"model.head.weight": torch.arange(6.0).reshape(2, 3)}
        ),
        "optimizer_states": [
            {"state": {0: {"exp_avg": torch.full((2,), 0.25)}}, "param_groups": []}
        ],
        "hyper_parameters": argparse.Namespace(lr=1e-3, names=["a", "b"]),
        "config": config,
        "schedule": functools.partial(max, 3),
        "seen": {1, 2},
        "frozen": frozenset({"x"}),
        "bytes": b"\x00\xff",
        "defaults": collections.defaultdict(list, {"k": [1]}),
        "size": torch.Size([2, 3]),
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        "numpy_scalar": np.float64(0.125),
        "numpy_int": np.int32(-5),
        "numpy_array": np.arange(6, dtype=">i4").reshape(2, 3),
        "numpy_fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "numpy_twice": [shared := np.arange(3), shared],
        "numpy_text": np.array(["a", "bc"]),
        "sparse": torch.eye(2).to_sparse(),
        "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    }


def bits(tensor):
    """A tensor as numpy can store it."""
    tensor = tensor.detach().clone()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy()
    if tensor.dtype == torch.float8_e4m3fn:
        return tensor.view(torch.uint8).numpy()
    return tensor.numpy()


def main():
    foreign = types.ModuleType("somebodys.framework")
    foreign.Config = Config
    Config.__module__ = "somebodys.framework"
    sys.modules["somebodys.framework"] = foreign
    sys.modules["somebodys"] = types.ModuleType("somebodys")

    state = tensors()
    torch.save(state, FOLDER / "zip.pt")
    torch.save(state, FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(lightning(), FOLDER / "lightning.ckpt")
    module = torch.nn.Linear(2, 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 2.0]]))
        module.bias.fill_(3.0)
    torch.save(module, FOLDER / "model.pt")
    torch.jit.save(torch.jit.script(module), FOLDER / "script.pt")
    np.savez_compressed(
        FOLDER / "expected.npz", **{key: bits(tensor) for key, tensor in state.items()}
    )


if __name__ == "__main__":
    main()
