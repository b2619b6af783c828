"""Files made to do harm, or broken, given to the command: one line, status 1, no trace."""

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxsed import cli
from jaxsed.weights import torch_file_writer
from tests import goldens
from tests.synth import synth_state_dict

ROOT = Path(__file__).parents[2]
BOMB_BYTES = 100 * 2**20
KERNEL = "model.frame_mn.features.16.0.weight"


class Harm:
    """Runs a function of `call` where Python's own unpickler meets it."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        function, *arguments = self.call
        return function, tuple(arguments)


SYSTEM = Harm(os.system, "touch executed")
EVAL = Harm(eval, "open('executed', 'w')")


@pytest.fixture(scope="module")
def tensors():
    return synth_state_dict(goldens.manifest("frame_mn06"), 1)


@pytest.fixture(scope="module")
def whole(tensors, tmp_path_factory):
    """A good file, which the others are made of."""
    path = tmp_path_factory.mktemp("whole") / "whole.pt"
    torch_file_writer.write(path, tensors)
    assert cli.main(["convert", str(path), str(path.parent / "model")]) == 0
    return path


def archive(path, pickled, storage=b"", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as opened:
        opened.writestr("archive/data.pkl", pickled)
        opened.writestr("archive/data/0", storage)


def os_system(path, whole):
    archive(path, pickle.dumps({"state_dict": SYSTEM}, 2))


def builtins_eval(path, whole):
    archive(path, pickle.dumps(EVAL, 2))


def harm_in_the_old_format(path, whole):
    """Of `torch.save` before 1.6: magic number, protocol, machine, object, storages."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {}, {"model": SYSTEM}, [])
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))


def harm_beside_good_weights(path, whole):
    """A whole checkpoint whose pickle holds one more thing."""
    with zipfile.ZipFile(whole) as good, zipfile.ZipFile(path, "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            if name == "archive/data.pkl":
                one_more = pickle.dumps({"hook": SYSTEM}, 2)[2:-1]  # no frame, no stop
                content = content[:-1] + one_more + b"\x86."
            bad.writestr(name, content)


def deep_recursion(path, whole):
    depth = 200_000
    archive(path, b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")


def zip_bomb(path, whole):
    with zipfile.ZipFile(whole) as good:
        pickled = good.read("archive/data.pkl")
    archive(path, pickled, bytes(BOMB_BYTES), zipfile.ZIP_DEFLATED)


def truncated_zip(path, whole):
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def text(path, whole):
    path.write_text("404: Not Found\n")


def empty(path, whole):
    path.write_bytes(b"")


REFUSED = {
    os_system: "asks Python to run",
    builtins_eval: "asks Python to run __builtin__.eval",
    harm_in_the_old_format: "asks Python to run",
    harm_beside_good_weights: "asks Python to run",
    deep_recursion: "containers nest deeper than 64",
    zip_bomb: "a zip bomb",
    truncated_zip: "cut off, as by a download that did not finish",
    text: "a text file that begins '404: Not Found'",
    empty: "is empty; download it again",
}


def assert_refused(arguments, folder, message, capsys):
    before = sorted(folder.iterdir())
    assert cli.main(["convert", *map(str, arguments)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"jaxsed convert: {arguments[0]}") and message in line
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_a_file_made_to_do_harm_or_broken(make, whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "bad.pt", whole)
    capsys.readouterr()
    assert_refused(["bad.pt", "out"], tmp_path, REFUSED[make], capsys)


@pytest.mark.parametrize("make", [os_system, builtins_eval, harm_beside_good_weights])
def test_an_ordinary_unpickler_would_do_the_harm(make, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "bad.pt", whole)

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, reference):
            return None

        def find_class(self, module, name):
            is_torch = module.startswith("torch")
            return (lambda *_: None) if is_torch else super().find_class(module, name)

    with zipfile.ZipFile("bad.pt") as opened, opened.open("archive/data.pkl") as file:
        Unpickler(file).load()
    assert Path("executed").exists()


WRONG_TENSORS = {
    "wrong shape": (
        lambda t: t | {KERNEL: t[KERNEL][:-1]},
        f"1 tensors have the wrong shape: {KERNEL} is [",
    ),
    "wrong axes": (lambda t: t | {KERNEL: t[KERNEL].ravel()}, "should be [any, 96"),
    "a scalar head": (
        lambda t: t | {"strong_head.weight": np.array(0.0, np.float32)},
        "strong_head.weight is [], expected [447, 576]",
    ),
    "missing key": (
        lambda t: {key: t[key] for key in t if key != "strong_head.bias"},
        "keys 1 missing (strong_head.bias)",
    ),
    "half of the keys": (
        lambda t: {key: t[key] for key in list(t)[: len(t) * 3 // 5]},
        "none of the checkpoints known",
    ),
    "no keys": (lambda t: {}, "holds no tensors"),
    "integers": (
        lambda t: t | {"strong_head.bias": t["strong_head.bias"].astype(np.int64)},
        "strong_head.bias is int64",
    ),
}


@pytest.mark.parametrize("case", WRONG_TENSORS)
def test_wrong_tensors(case, tensors, whole, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    change, message = WRONG_TENSORS[case]
    torch_file_writer.write("bad.pt", change(tensors))
    capsys.readouterr()
    assert_refused(["bad.pt", "out"], tmp_path, message, capsys)


def test_a_model_that_is_there_outlives_a_bad_file(
    whole, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["convert", str(whole), "model"]) == 0
    capsys.readouterr()
    before = {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    truncated_zip(tmp_path / "bad.pt", whole)
    message = "cut off"
    assert_refused(["bad.pt", "model", "--force"], tmp_path, message, capsys)
    assert before == {
        path: path.read_bytes() for path in (tmp_path / "model").iterdir()
    }


def test_python_m_convert_ends_with_status_1(whole, tmp_path):
    os_system(tmp_path / "bad.pt", whole)
    done = subprocess.run(
        [sys.executable, "-m", "convert", "bad.pt", "out"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("jaxsed convert: bad.pt: asks Python to run ")
    assert os.listdir(tmp_path) == ["bad.pt"]
