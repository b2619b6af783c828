"""The four traps of sed_scores_eval."""

import subprocess
import sys

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation import sed_library
from jaxsed.evaluation.sed_library import ScoreFrames


def test_selected_columns_can_be_written_to_whatever_pandas_is_installed():
    borders = np.array([0.0, 0.5, 1.0])
    scores = np.array([[1.0, 2.0], [3.0, 4.0]], np.float16)
    frames = ScoreFrames({"a": (borders, scores)}, ["0", "1"])
    frame = frames["a"]
    assert list(frame.columns) == ["onset", "offset", "0", "1"]
    values = frame[["0", "1"]].to_numpy()
    values[0, 0] = 7.0  # raises on a plain pandas 3 frame
    assert values.dtype == np.float64
    assert frame["0"][0] == 1.0  # and the frame is not changed by it
    np.testing.assert_array_equal(frame["offset"], [0.5, 1.0])
    assert list(frames.keys()) == ["a"]


def test_a_missing_pkg_resources_says_what_to_install(monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "sed_scores_eval"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [n for n in sys.modules if n.split(".")[0] == "dcase_util"]:
        monkeypatch.delitem(sys.modules, name)
    for name in [n for n in sys.modules if n.split(".")[0] == "sed_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    with pytest.raises(InputError, match="'setuptools<82'"):
        sed_library.load("segment_based")


def test_nothing_slow_is_imported_before_it_is_needed():
    code = (
        "import sys\n"
        "from jaxsed.evaluation import evaluator, evaluate_command, truth_files\n"
        "slow = {'pandas', 'scipy', 'sed_scores_eval', 'jax', 'sklearn'}\n"
        "sys.exit(', '.join(slow & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
