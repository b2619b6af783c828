import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.weights import convert, files, named, torch_file_writer
from tests import goldens
from tests.synth import synth_state_dict

NAME = "frame_mn06_strong_1"
FILE = f"{NAME}.pt"
ASK = f"from jaxsed.weights import named; print(named.model_folder({NAME!r}))"
# Dies when all is computed and nothing is in its place.
DIE = (
    "import os; from jaxsed.weights import named;"
    f"named.replace_folder = lambda *_: os.kill(os.getpid(), {signal.SIGKILL:d});"
    f"named.model_folder({NAME!r})"
)


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """An offline directory with a whole checkpoint."""
    folder = tmp_path_factory.mktemp("offline")
    tensors = synth_state_dict(goldens.manifest("frame_mn06"), 1)
    torch_file_writer.write(folder / FILE, tensors)
    return folder


@pytest.fixture(scope="module")
def made(offline, tmp_path_factory):
    """The cache after one process was killed and two others asked; what these said."""
    root = tmp_path_factory.mktemp("cache")
    killed = _start(DIE, root, offline)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    left = os.listdir(root / "weights" / "models")
    both = [_start(ASK, root, offline) for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    return root / "weights" / "models", left, said


def _start(code, root, offline):
    environment = os.environ | {
        "JAXSED_CACHE": str(root),
        "JAXSED_WEIGHTS_DIR": str(offline),
        "JAX_PLATFORMS": "cpu",
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAXSED_WEIGHTS_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "weights"


@pytest.fixture
def conversions(monkeypatch):
    """Sources of the conversions that a test sets off."""
    sources = []

    def converted(source, *arguments, **options):
        sources.append(source)
        return real(source, *arguments, **options)

    real = convert.convert_file
    monkeypatch.setattr(convert, "convert_file", converted)
    return sources


@pytest.fixture
def folder(made, cache):
    """The model in a cache of its own."""
    shutil.copytree(made[0], cache / "models")
    return cache / "models" / NAME


class TestMaking:
    def test_two_at_once_get_one_model_even_after_a_kill(self, made):
        models, left, said = made
        assert len(left) == 2 and NAME not in left  # a lock and half a model
        assert os.listdir(models) == [NAME]
        assert [out for out, _ in said] == [f"{models / NAME}\n"] * 2

    def test_the_licence_is_shown_once_and_kept(self, made):
        models, _, said = made
        lines = [line for _, err in said for line in err.splitlines()]
        (line,) = [line for line in lines if line.startswith("jaxsed: ")]
        assert f"{NAME}: converted to {models / NAME}; licence MIT (github" in line
        description = files.read_description(models / NAME)
        assert description["licence"].startswith("MIT (github.com/fschmid56/")
        assert description["encoder"] == "frame_mn06"
        assert description["stage"] == "strong"

    def test_the_parameters_are_those_of_the_checkpoint(self, made, offline):
        params, _ = files.load_model(made[0] / NAME)
        expected = synth_state_dict(goldens.manifest("frame_mn06"), 1)
        head = expected["strong_head.weight"].T
        np.testing.assert_array_equal(params["strong_head"]["kernel"], head)


class TestAgain:
    @pytest.mark.parametrize("name", [NAME, NAME.upper(), "frame_mn06", FILE])
    def test_it_is_there(self, folder, offline, conversions, capsys, name):
        assert named.model_folder(name, offline) == folder
        assert conversions == [] and capsys.readouterr().err == ""

    def test_the_checkpoint_may_be_gone(self, folder, conversions):
        assert named.model_folder(NAME) == folder
        assert conversions == []

    def test_a_read_only_cache_is_enough(self, folder, offline, monkeypatch):
        monkeypatch.setattr(named.locks, "in_turn", None)
        assert named.model_folder(NAME, offline) == folder

    def test_another_checkpoint_is_converted(self, folder, tmp_path, conversions):
        other = tmp_path / "other"
        other.mkdir()
        tensors = synth_state_dict(goldens.manifest("frame_mn06"), 2)
        torch_file_writer.write(other / FILE, tensors)
        assert named.model_folder(NAME, other) == folder
        assert conversions == [other / FILE]
        bias = files.load_model(folder)[0]["strong_head"]["bias"]
        np.testing.assert_array_equal(bias, tensors["strong_head.bias"])
        assert os.listdir(folder.parent) == [NAME]

    @pytest.mark.parametrize("damage", ["converter", "json", "provenance"])
    def test_one_that_is_old_or_damaged_is_made_anew(
        self, folder, offline, conversions, damage
    ):
        path = folder / files.DESCRIPTION_FILE
        good = path.read_text()
        description = json.loads(good)
        if damage == "converter":
            description["provenance"]["converter"] -= 1
        elif damage == "provenance":
            description["provenance"] = "lost"
        path.write_text(json.dumps(description)[: 99 if damage == "json" else None])
        assert named.model_folder(NAME, offline) == folder
        assert conversions == [offline / FILE]
        assert path.read_text() == good


class TestWhatIsNoName:
    def test_a_path_wins_over_a_name(self, cache, tmp_path):
        (tmp_path / NAME).mkdir()
        assert named.model_folder(NAME) == Path(NAME)
        assert named.model_folder(tmp_path / NAME) == tmp_path / NAME
        assert not cache.exists()

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (
                "BEATs_stron_1",
                "BEATs_stron_1: no such model folder, and no released checkpoint is "
                "called 'BEATs_stron_1': did you mean 'BEATs_strong_1' or ",
            ),
            ("zzz", "called 'zzz': 'jaxsed weights list' shows them all"),
            ("run/model", "run/model: no such model folder"),
            (f"nowhere/{NAME}", "no such model folder"),
        ],
    )
    def test_neither_path_nor_name_is_one_line(self, cache, name, message):
        with pytest.raises(InputError) as caught:
            named.model_folder(name)
        assert message in str(caught.value) and "\n" not in str(caught.value)
        assert not cache.exists()


class TestFailures:
    def test_a_wrong_file_is_refused_and_leaves_nothing(self, cache, tmp_path):
        tensors = {"head.weight": np.zeros(9, np.float32)}
        torch_file_writer.write(tmp_path / FILE, tensors)
        with pytest.raises(InputError, match=f"{FILE}: none of the checkpoints known"):
            named.model_folder(NAME, tmp_path)
        assert os.listdir(cache / "models") == []

    def test_files_of_others_in_its_place_are_kept(self, cache, offline):
        (cache / "models" / NAME).mkdir(parents=True)
        (cache / "models" / NAME / "thesis.tex").write_text("mine")
        with pytest.raises(InputError, match="holds other files and no model"):
            named.model_folder(NAME, offline)
        assert os.listdir(cache / "models") == [NAME]
        assert os.listdir(cache / "models" / NAME) == ["thesis.tex"]

    def test_a_cache_that_cannot_be_written_is_named(self, cache, offline, tmp_path):
        (tmp_path / "cache").write_text("a file in its place")
        with pytest.raises(InputError, match=r"cannot be written.*\$JAXSED_CACHE"):
            named.model_folder(NAME, offline)
