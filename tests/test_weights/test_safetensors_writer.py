import hashlib

import ml_dtypes
import numpy as np
import safetensors.numpy

from jaxsed.weights import safetensors_writer, torch_file


def test_the_bytes_are_those_of_the_library(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        "b/kernel": rng.standard_normal((7, 5)).astype(np.float32),
        "a": rng.standard_normal(3).astype(np.float32).T,
        "größe": np.float32(3),
        "empty": np.zeros((0, 4), np.float32),
        "count": np.int64(2),
        "half": np.arange(3, dtype=np.float16),
    }
    path = tmp_path / "t.safetensors"
    digest = safetensors_writer.write(path, tensors)
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    assert path.read_bytes() == safetensors.numpy.save(arrays)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_layouts_and_types_survive(tmp_path):
    tensors = {
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "brain": np.array([1.5, -0.0, np.nan], ml_dtypes.bfloat16),
        "yes": np.array([True, False]),
        "big": np.arange(3, dtype=">i4"),
    }
    path = tmp_path / "t.safetensors"
    safetensors_writer.write(path, tensors)
    for name, array in torch_file.read(path).content.items():
        assert array.dtype == tensors[name].dtype.newbyteorder("=")
        assert array.tolist() == tensors[name].tolist() or name == "brain"
    assert (
        torch_file.read(path).content["brain"].tobytes() == tensors["brain"].tobytes()
    )


def test_tensors_are_made_one_at_a_time(tmp_path):
    events = []

    class Lazy:
        shape, dtype = (2,), np.dtype(np.float32)

        def __init__(self, name):
            self.name = name

        def __array__(self, dtype=None, copy=None):
            events.append(self.name)
            return np.zeros(2, np.float32)

    safetensors_writer.write(tmp_path / "t", {name: Lazy(name) for name in "ba"})
    assert events == ["a", "b"]
