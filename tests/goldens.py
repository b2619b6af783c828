"""Reference numbers of the original PyTorch code, as strided excerpts."""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "golden"


def load(name):
    return np.load(FOLDER / f"{name}.npz")


def manifest(name):
    return json.loads((FOLDER / "manifests" / f"{name}.json").read_text())


def strided(golden, key, full):
    """Our full array at the points that are stored of the original's array `key`."""
    full = np.asarray(full)
    assert full.shape == tuple(golden[f"{key}__shape"])
    return full[tuple(slice(None, None, step) for step in golden[f"{key}__strides"])]


def assert_close(golden, key, full, atol):
    np.testing.assert_allclose(
        strided(golden, key, full), golden[key], rtol=0, atol=atol, err_msg=key
    )
