import io
import os
import pickletools
import tracemalloc
import zipfile

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.weights import torch_file
from jaxsed.weights.torch_file_writer import ALIGNMENT_BYTES, write
from jaxsed.weights.torch_tensors import STORAGE_DTYPES

MATRIX = np.arange(12, dtype=np.float32).reshape(3, 4)
# What `torch.load(weights_only=True)` allows (torch/_weights_only_unpickler.py).
ALLOWED_NAMES = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {name}" for name in STORAGE_DTYPES),
}
ALLOWED_OPCODES = {
    *("PROTO", "GLOBAL", "EMPTY_TUPLE", "REDUCE", "MARK", "BINUNICODE", "BININT"),
    *("LONG1", "TUPLE", "BINPERSID", "NEWFALSE", "SETITEMS", "STOP"),
}


def entries(path):
    """Names of a file's entries, with where their bytes begin."""
    with zipfile.ZipFile(path) as archive:
        content = path.read_bytes()
        for info in archive.infolist():
            header = content[info.header_offset : info.header_offset + 30]
            lengths = np.frombuffer(header[26:30], "<u2")
            yield info, info.header_offset + 30 + int(lengths.sum())


@pytest.mark.parametrize(
    "array",
    [
        MATRIX,
        MATRIX.T,
        MATRIX[::2, 1:],
        MATRIX.astype(">f4"),
        np.float32(2.5),
        np.zeros((0, 3), np.float32),
        np.array([True, False]),
        np.arange(3, dtype=np.int64),
        np.ones(2, np.complex64),
        np.ones(3, ml_dtypes.bfloat16),
        jnp.ones((2, 2), jnp.float16),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_what_is_written_is_read(tmp_path, array):
    write(tmp_path / "a.pt", {"x.weight": array, "ü": MATRIX})
    found = torch_file.read(tmp_path / "a.pt").content
    assert list(found) == ["x.weight", "ü"]
    assert found["x.weight"].dtype == array.dtype.newbyteorder("=")
    assert found["x.weight"].shape == array.shape
    np.testing.assert_array_equal(found["x.weight"], array)


def test_the_archive_is_as_torch_save_makes_it(tmp_path):
    write(tmp_path / "a.pt", {"a": MATRIX, "b": MATRIX.astype(np.int8), "c": MATRIX[0]})
    found = {info.filename: (info, at) for info, at in entries(tmp_path / "a.pt")}
    assert list(found) == [
        "archive/data.pkl",
        "archive/byteorder",
        *(f"archive/data/{number}" for number in range(3)),
        "archive/version",
    ]
    for info, at in found.values():
        assert info.compress_type == zipfile.ZIP_STORED
        assert at % ALIGNMENT_BYTES == 0
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        assert archive.testzip() is None
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/byteorder") == b"little"


def test_the_pickle_holds_nothing_that_weights_only_refuses(tmp_path):
    write(tmp_path / "a.pt", {"a": MATRIX, "b": np.ones(2, ml_dtypes.bfloat16)})
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        pickled = archive.read("archive/data.pkl")
    pickletools.dis(pickled, out=io.StringIO())  # checks stack and end
    opcodes = list(pickletools.genops(pickled))
    assert {opcode.name for opcode, _, _ in opcodes} <= ALLOWED_OPCODES
    names = {arg for opcode, arg, _ in opcodes if opcode.name == "GLOBAL"}
    assert names <= ALLOWED_NAMES
    assert "torch BFloat16Storage" in names
    assert opcodes[0][1] == 2


def test_tied_arrays_are_stored_once(tmp_path):
    write(tmp_path / "a.pt", {"a": MATRIX, "tied": MATRIX, "copy": MATRIX.copy()})
    stored = [
        i.filename for i, _ in entries(tmp_path / "a.pt") if "/data/" in i.filename
    ]
    assert stored == ["archive/data/0", "archive/data/1"]
    found = torch_file.read(tmp_path / "a.pt").content
    assert np.shares_memory(found["a"], found["tied"])


def test_the_same_content_gives_the_same_file(tmp_path):
    for name in ("a.pt", "b.pt"):
        write(tmp_path / name, {"a": MATRIX.copy()})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_arrays_are_not_copied(tmp_path):
    large = np.ones(2**23, np.float32)  # 32 MiB
    tracemalloc.start()
    write(tmp_path / "a.pt", {"a": large, "b": large[::-1][::-1]})
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < large.nbytes / 4


@pytest.mark.parametrize(
    ("state_dict", "message"),
    [
        ({"a": np.array(["text"])}, "a: PyTorch has no tensors of type <U4"),
        ({"a": np.array([object()])}, "no tensors of type object"),
        ({1: MATRIX}, "keys are text; got 1"),
    ],
)
def test_what_pytorch_does_not_have_is_refused(tmp_path, state_dict, message):
    (tmp_path / "a.pt").write_bytes(b"old")
    with pytest.raises(InputError, match=message):
        write(tmp_path / "a.pt", {"fine": MATRIX, **state_dict})
    assert (tmp_path / "a.pt").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.pt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "a.pt").write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write(tmp_path / "a.pt", {"a": MATRIX})
    assert (tmp_path / "a.pt").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.pt"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file"):
        write(tmp_path / "none" / "a.pt", {"a": MATRIX})
