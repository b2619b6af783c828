import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxsed import cli
from jaxsed.weights import convert_command, files, mapping, torch_file
from tests.test_weights import small_checkpoints as small

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def small_encoders():
    with pytest.MonkeyPatch.context() as monkeypatch:
        small.shrink_encoders(monkeypatch)
        yield


@pytest.fixture
def source(tmp_path):
    return small.write(tmp_path / "ATST-F_strong_1.pt", small.state_dict("ATST-F"))


def run(*arguments):
    return cli.main(["convert", *map(str, arguments)])


def test_a_conversion_says_what_became_of_the_file(source, tmp_path, capsys):
    assert run(source, tmp_path / "m") == 0
    said = capsys.readouterr().out
    for part in (
        "atst_frame, stage strong, audioset_strong_447",
        "released layout, keys behind 'model.atst.'",
        "used     141 tensors",
        "dropped  1: stands for masked tokens",
        "model.atst.mask_embed",
        "new      nothing",
        "model.atst.pos_embed: [1, 1, 48] of it are not used",
        f"jaxsed detect AUDIO --weights {tmp_path / 'm'} --out",
    ):
        assert part in said
    assert len(said.splitlines()) < 15
    assert files.load_model(tmp_path / "m")[1]["stage"] == "strong"


def test_verbose_lists_every_key(source, tmp_path, capsys):
    assert run(source, tmp_path / "m", "--verbose") == 0
    said = {line.strip() for line in capsys.readouterr().out.splitlines()}
    assert small.state_dict("ATST-F").keys() <= said


def test_there_and_back(source, tmp_path, capsys):
    assert run(source, tmp_path / "m") == 0
    assert run("--to-torch", tmp_path / "m", tmp_path / "o.pt") == 0
    assert "142 tensors" in capsys.readouterr().out
    there, back = (torch_file.read(p).content for p in (source, tmp_path / "o.pt"))
    assert there.keys() == back.keys()
    assert all(there[key].tobytes() == back[key].tobytes() for key in there)


def test_options_reach_the_conversion(tmp_path, capsys):
    tensors = small.state_dict("ATST-F")
    body = {key: tensors[key] for key in tensors if "_head" not in key}
    source = small.write(tmp_path / "ssl.pt", body)
    options = ["--stage", "weak", "--vocabulary", "audioset_527", "--seed", "3"]
    assert run(source, tmp_path / "m", "--model", "atst_frame", *options) == 0
    said = capsys.readouterr().out
    assert "stage weak, audioset_527" in said and "drawn with seed 3" in said
    assert "its strong_head and weak_head cannot know a class yet" in said
    assert run(source, tmp_path / "m") == 1
    assert "--force" in capsys.readouterr().err
    assert run(source, tmp_path / "m", "--force") == 0
    assert run("--to-torch", tmp_path / "m", tmp_path / "o.pt") == 0
    assert "strong_head is left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.pt", "m"], "no such file"),
        (["SOURCE", "m", "--model", "beets"], "did you mean 'beats'"),
        (["SOURCE", "m", "--model", "beats"], "looks like a checkpoint of atst_frame"),
        (["SOURCE", "m", "--stage", "strange"], "did you mean 'strong'"),
        (["SOURCE", "m", "--vocabulary", "audioset_528"], "did you mean"),
        (["SOURCE", "m", "--seed", "-1"], "0 or more"),
        (["SOURCE", "SOURCE"], "not a folder"),
        (["--to-torch", "SOURCE", "o.pt"], "is a file"),
        (["--to-torch", "nowhere", "o.pt"], "no such model folder"),
        (["--to-torch", "nowhere", "o.pt", "--stage", "ssl"], "no meaning"),
        (["--to-torch", "nowhere", "o.safetensors"], "call it o.pt"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    source, tmp_path, capsys, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert run(*(source.name if a == "SOURCE" else a for a in arguments)) == 1
    caught = capsys.readouterr()
    assert message in caught.err and caught.out == ""
    assert caught.err.startswith("jaxsed convert: ")
    assert len(caught.err.splitlines()) == 1
    assert os.listdir(tmp_path) == [source.name]


def test_a_model_is_not_taken_for_a_checkpoint(source, tmp_path, capsys):
    assert run(source, tmp_path / "m") == 0
    assert run(tmp_path / "m", tmp_path / "n") == 1
    assert "--to-torch" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_leaves_nothing(
    source, tmp_path, capsys, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.safetensors_writer, "write", full)
    for out in (tmp_path / "m", tmp_path / "run" / "deep" / "m"):
        assert run(source, out) == 1
        message = f"{out}: cannot be written: No space left on device\n"
        assert capsys.readouterr().err == f"jaxsed convert: {message}"
        assert os.listdir(tmp_path) == [source.name]


def test_ctrl_c_is_status_130_and_leaves_nothing(source, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(mapping, "_made", interrupted)
    assert run(source, tmp_path / "m") == 130
    assert os.listdir(tmp_path) == [source.name]


def test_keys_of_a_file_cannot_draw_on_the_terminal(tmp_path, capsys):
    tensors = small.external("ASiT") | {"x.\x1b[2J\n": np.zeros(2, np.float32)}
    source = small.write(tmp_path / "a.pt", tensors)
    assert run(source, tmp_path / "m", "--verbose") == 0
    said = capsys.readouterr().out
    assert "x.?[2J?" in said and "\x1b" not in said
    tensors = small.state_dict("ASIT") | {"\x1b[2J\n": np.zeros(2, np.float32)}
    assert run(small.write(tmp_path / "b.pt", tensors), tmp_path / "n") == 1
    error = capsys.readouterr().err
    assert "\x1b" not in error and len(error.splitlines()) == 1


def test_python_m_convert_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "convert", "nowhere.pt", "m"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("jaxsed convert: nowhere.pt: no such file")


def test_its_help_names_everything():
    assert "Exit status" in convert_command.__doc__
    assert "--to-torch" in convert_command.__doc__
