"""Genuine checkpoints (golden/torch/make.py wrote them), and files that are none."""

import gzip
import io
import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxsed.errors import InputError
from jaxsed.weights import torch_file
from jaxsed.weights.torch_content import Placeholder, flatten
from jaxsed.weights.torch_file_writer import write

GOLDEN = Path(__file__).parents[1] / "golden" / "torch"
TYPES = {"bfloat16": ml_dtypes.bfloat16, "float8": ml_dtypes.float8_e4m3fn}
MAGIC = 0x1950A86A20F9469CFC6C


@pytest.fixture(scope="module")
def expected():
    with np.load(GOLDEN / "expected.npz") as file:
        return {
            key: file[key].view(TYPES.get(key, file[key].dtype)) for key in file.files
        }


@pytest.fixture(scope="module")
def lightning():
    return torch_file.read(GOLDEN / "lightning.ckpt")


@pytest.mark.parametrize("kind", ["zip", "legacy"])
class TestTensors:
    def test_have_the_values_and_types_that_were_saved(self, kind, expected):
        found = torch_file.read(GOLDEN / f"{kind}.pt")
        assert found.format == kind
        assert list(found.content) == list(expected)
        for key, array in flatten(found.content).items():
            assert array.dtype == expected[key].dtype, key
            np.testing.assert_array_equal(array, expected[key], err_msg=key)

    def test_share_memory_and_stay_as_they_are(self, kind):
        state = torch_file.read(GOLDEN / f"{kind}.pt").content
        assert np.shares_memory(state["row"], state["shared"])
        assert np.shares_memory(state["transposed"], state["weight"])
        assert state["repeated"].strides == (0, 0)
        assert not any(a.flags.writeable for a in state.values() if a.size)

    def test_nothing_foreign_is_in_a_state_dict(self, kind):
        found = torch_file.read(GOLDEN / f"{kind}.pt")
        assert set(found.foreign) <= {"torch.float8_e4m3fn", "torch.uint16"}


class TestLightning:
    def test_plain_data_is_plain(self, lightning):
        content = lightning.content
        assert content["epoch"] == 7
        assert content["global_step"] == 2**40
        assert content["seen"] == {1, 2}
        assert content["frozen"] == {"x"}
        assert content["bytes"] == b"\x00\xff"
        assert content["defaults"] == {"k": [1]}
        assert content["size"] == (2, 3)
        assert content["numpy_scalar"] == 0.125
        assert content["numpy_int"] == -5

    def test_arrays_are_found_by_path(self, lightning):
        arrays = flatten(lightning.content)
        np.testing.assert_array_equal(
            arrays["state_dict.model.head.weight"], [[0, 1, 2], [3, 4, 5]]
        )
        np.testing.assert_array_equal(
            arrays["optimizer_states.0.state.0.exp_avg"], [0.25, 0.25]
        )
        np.testing.assert_array_equal(arrays["numpy_array"], np.arange(6).reshape(2, 3))
        np.testing.assert_array_equal(
            arrays["numpy_fortran"], np.arange(6).reshape(2, 3)
        )
        assert arrays["numpy_twice.0"] is arrays["numpy_twice.1"]

    def test_the_foreign_is_described_and_inert(self, lightning):
        content = lightning.content
        settings = content["hyper_parameters"]
        assert isinstance(settings, Placeholder)
        assert settings.qualified_name == "argparse.Namespace"
        assert settings.state == {"lr": 1e-3, "names": ["a", "b"]}
        config = content["config"]
        assert config.items["width"] == 768
        assert config.items["parent"] is config
        assert repr(config) == "<somebodys.framework.Config, not loaded>"
        for key in ("schedule", "dtype", "device", "sparse", "quantised", "numpy_text"):
            assert isinstance(content[key], Placeholder), key
        assert {"functools.partial", "torch.bfloat16"} <= set(lightning.foreign)


def test_a_whole_module_is_its_class_and_its_tensors():
    module = torch_file.read(GOLDEN / "model.pt").content
    assert module.qualified_name == "torch.nn.modules.linear.Linear"
    np.testing.assert_array_equal(module.state["_parameters"]["weight"], [[1, 2]])


@pytest.mark.parametrize(
    ("saved", "name"), [(np.float32, "float32"), (np.float32, "bfloat16")]
)
def test_tensors_of_other_devices(tmp_path, saved, name):
    """As torch.save writes them from a TPU: numpy arrays, and the type they had."""
    array = np.array([[1.5, -2.0], [0.25, 8.0]], saved)
    body = pickle.dumps(array, 2)[2:-1] + f"ctorch\n{name}\n".encode()
    call = b"ctorch._utils\n_rebuild_device_tensor_from_numpy\n("
    device = b"X\x05\x00\x00\x00xla:0"
    key = b"X\x01\x00\x00\x00w"
    path = tmp_path / "tpu.pt"
    with zipfile.ZipFile(path, "w") as archive:
        pickled = b"\x80\x02}" + key + call + body + device + b"\x89tRs."
        archive.writestr("archive/data.pkl", pickled)
    found = torch_file.read(path).content["w"]
    assert found.dtype == TYPES.get(name, name)
    np.testing.assert_array_equal(found.astype(np.float32), array)
    assert not found.flags.writeable


def test_big_endian_storages_are_turned_round(tmp_path):
    write(tmp_path / "little.pt", {"x": np.array([1.5, -2.0], np.float32)})
    with (
        zipfile.ZipFile(tmp_path / "little.pt") as little,
        zipfile.ZipFile(tmp_path / "big.pt", "w") as big,
    ):
        for name in little.namelist():
            content = little.read(name)
            if name.endswith("byteorder"):
                content = b"big"
            elif "/data/" in name:
                content = np.frombuffer(content, "<f4").astype(">f4").tobytes()
            big.writestr(name, content)
    found = torch_file.read(tmp_path / "big.pt").content["x"]
    np.testing.assert_array_equal(found, np.array([1.5, -2.0], np.float32))
    assert found.dtype == np.float32


def test_an_archive_packed_again_is_read(tmp_path, expected):
    with (
        zipfile.ZipFile(GOLDEN / "zip.pt") as stored,
        zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    found = torch_file.read(tmp_path / "a.pt").content
    np.testing.assert_array_equal(found["weight"], expected["weight"])


def test_safetensors(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.float16).reshape(2, 3),
        "b": np.array([1, 2], np.int64),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 4), np.float32),
    }
    save_file(arrays, tmp_path / "a.safetensors", {"format": "pt"})
    found = torch_file.read(tmp_path / "a.safetensors")
    assert found.format == "safetensors"
    assert set(found.content) == set(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(found.content[key], array)
        assert found.content[key].dtype == array.dtype


def legacy_head(n_elements: int) -> bytes:
    """A legacy checkpoint of one float32 tensor, up to where its elements begin."""
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    length = struct.pack("<I", n_elements)
    body = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"
        b"((U\x07storagectorch\nFloatStorage\nU\x01kU\x03cpuJ" + length + b"NtQ"
        b"K\x00J" + length + b"\x85K\x01\x85\x89NtR."
    )
    pickles = [pickle.dumps(part, 2) for part in (MAGIC, 1001, machine)]
    keys = pickle.dumps(["k"], 2)
    return b"".join([*pickles, body, keys, struct.pack("<q", n_elements)])


def test_bytes_that_are_not_those_written_are_found_where_asked(tmp_path):
    """A hole in the middle, which leaves the list of entries at the end whole."""
    path = tmp_path / "holed.pt"
    write(path, {"x": np.ones(5000, np.float32)})
    content = path.read_bytes()
    assert torch_file.read(path, verify=True).content["x"].all()
    path.write_bytes(content[:8000] + bytes(4000) + content[12_000:])
    with pytest.raises(InputError, match=r"'archive/data/0' are not those.*again"):
        torch_file.read(path, verify=True)
    # As PyTorch leaves checksums out: 0 in place of it, in the list of entries.
    checksum = struct.pack("<I", zlib.crc32(np.ones(5000, np.float32)))
    assert content.count(checksum) == 2
    path.write_bytes(content.replace(checksum, bytes(4)))
    assert torch_file.read(path, verify=True).content["x"].all()


@pytest.mark.parametrize("bit", [b"neg", b"conj"])
def test_numbers_that_mean_their_negative_are_not_taken_for_themselves(tmp_path, bit):
    """As `x.conj().imag` is stored: the sign is in the tensor's metadata alone."""
    write(tmp_path / "plain.pt", {"x": np.ones(3, np.float32)})
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    metadata = b"}X" + struct.pack("<I", len(bit)) + bit + b"\x88s"
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "lazy.pt", "w") as lazy,
    ):
        for name in plain.namelist():
            content = plain.read(name)
            if name.endswith("data.pkl"):
                assert content.count(hooks) == 1
                content = content.replace(hooks, hooks + metadata)
            lazy.writestr(name, content)
    found = torch_file.read(tmp_path / "lazy.pt")
    assert found.foreign == ("torch._utils._rebuild_tensor_v2",)
    assert not flatten(found.content)


def test_opening_reads_next_to_nothing(tmp_path):
    n_elements = 90_000_000  # 360 MB, of which the disk holds nothing
    path = tmp_path / "large.pt"
    head = legacy_head(n_elements)
    path.write_bytes(head)
    os.truncate(path, len(head) + 4 * n_elements)
    write(tmp_path / "zip.pt", {"x": np.zeros(2**21, np.float32)})
    tracemalloc.start()
    large = torch_file.read(path).content
    small = torch_file.read(tmp_path / "zip.pt").content["x"]
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert large.shape == (n_elements,)
    assert large[-1] == 0
    assert small.shape == (2**21,)
    assert peak_bytes < 2**20


def web_page():
    return b"\n<!DOCTYPE html><html><body>404</body></html>"


def npz():
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


def zip_around(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


GENUINE = (GOLDEN / "zip.pt").read_bytes()
LEGACY = (GOLDEN / "legacy.pt").read_bytes()
NOT_CHECKPOINTS = {
    "empty": (b"", "is empty"),
    "web page": (web_page(), "seems to be a web page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", "git-lfs pointer"),
    "text": (b"# Weights\nsee the wiki", "text file that begins '# Weights'"),
    "cut text": ("ü".encode() * 600, "text file"),
    "zeros": (bytes(4096), "nothing but zeros"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
    "npy": (b"\x93NUMPY\x01\x00", "numpy .npy"),
    "npz": (npz(), "numpy .npz"),
    "gzip": (gzip.compress(GENUINE), "gzip-compressed"),
    "tar": (bytes([65] * 257) + b"ustar\x0000" + bytes(300), "tar archive"),
    "wav": (b"RIFF\x00\x00\x00\x00WAVEfmt ", "sound"),
    "noise": (np.random.default_rng(0).bytes(999), "unknown binary file"),
    "plain pickle": (pickle.dumps({"a": 1}), "pickle that torch.save did not write"),
    "keras": (zip_around("config.json", "model.weights.h5"), "Keras"),
    "zip of a checkpoint": (zip_around("m2d/weights.pth"), "unpack it and give that"),
    "zip of else": (zip_around("a", "b", "c", "d"), "zip archive of something else"),
    "empty zip": (zip_around(), r"something else \(nothing\)"),
    "torchscript": ((GOLDEN / "script.pt").read_bytes(), "TorchScript"),
    "cut zip": (GENUINE[: len(GENUINE) // 2], "cut off"),
    "zip cut at its end": (GENUINE[:-30], "cut off|damaged"),
    "cut legacy": (LEGACY[:-5], "cut off"),
    "cut legacy pickle": (LEGACY[:700], "damaged"),
    "legacy, keys only": (LEGACY[:200], "damaged"),
    "cut safetensors": (struct.pack("<Q", 500) + b'{"a":', "cut off"),
    "odd safetensors": (struct.pack("<Q", 7) + b'{"a":1}', "does not describe 'a'"),
}


@pytest.mark.parametrize("case", NOT_CHECKPOINTS)
def test_other_files_are_called_what_they_are(tmp_path, case):
    content, message = NOT_CHECKPOINTS[case]
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        torch_file.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_file_but_a_folder(tmp_path):
    with pytest.raises(InputError, match=r"none\.pt: no such file"):
        torch_file.read(tmp_path / "none.pt")
    with pytest.raises(InputError, match="is a folder"):
        torch_file.read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is not a file"):
        torch_file.read(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "lightning.ckpt"])
def test_any_damage_is_an_input_error_or_harmless(tmp_path, name):
    """Bytes changed anywhere: a clear refusal, or arrays within the file."""
    genuine = (GOLDEN / name).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / name
    refused = 0
    for _ in range(400):
        broken = bytearray(genuine)
        for at in rng.integers(0, len(genuine), size=rng.integers(1, 4)):
            broken[at] = rng.integers(256)
        path.write_bytes(broken)
        try:
            for array in flatten(torch_file.read(path).content).values():
                array.tobytes()
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 0 < refused < 400


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, name):
    genuine = (GOLDEN / name).read_bytes()
    path = tmp_path / name
    for length in range(0, len(genuine), 97):
        path.write_bytes(genuine[:length])
        with pytest.raises(InputError):
            torch_file.read(path)
