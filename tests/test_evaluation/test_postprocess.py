import json
from types import SimpleNamespace

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation import postprocess
from jaxsed.evaluation.bounding_boxes import BoxSettings
from jaxsed.evaluation.postprocess import Postprocessing, choose

MEDIANS = Postprocessing("class_medians", classes={"Bark": 0.2, "Bell": 0.0})
BOXES = Postprocessing(
    "sebb", min_seconds=0.1, classes={"Bark": BoxSettings(0.32, 0.2, float("inf"))}
)


def test_methods_bring_their_own_numbers_unless_told_otherwise():
    assert choose() == Postprocessing("median", 0.48, 0.0, 0.5)
    assert choose("hear") == Postprocessing("hear", 0.25, 0.125, 0.5)
    assert choose("hear", 0.48, 0.05, 0.2) == Postprocessing("hear", 0.48, 0.05, 0.2)
    assert choose("sebb").makes_boxes and not choose("hear").makes_boxes
    assert choose(MEDIANS, 0.1, 0.1, 0.1) is MEDIANS
    assert choose(own=MEDIANS, threshold=0.1).classes == MEDIANS.classes
    assert choose(None, None, 0.2, 0.1, BOXES).min_seconds == 0.2
    assert choose(None, 0.2, own=MEDIANS) == choose("median", 0.2)
    assert choose("hear", own=MEDIANS) == choose("hear")


def test_classes_have_widths_of_their_own():
    names = ("Bell", "Bark", "Wind")
    framed = SimpleNamespace(frame_seconds=0.04)
    assert MEDIANS.median_widths(names, framed) == [0, 5, 12]
    assert choose("median", 0.2).median_widths(names, framed) == [5, 5, 5]
    # Without a filter nobody asks how long a frame is: scores may have no one length.
    assert BOXES.median_widths(names, None) == [0, 0, 0]
    assert choose("median", 0.0).median_widths(names, None) == [0, 0, 0]
    assert BOXES.box_settings(names) == [
        BoxSettings(),
        BOXES.classes["Bark"],
        BoxSettings(),
    ]


@pytest.mark.parametrize("written", [MEDIANS, BOXES, choose("hear", 0.3)])
def test_files_keep_all_but_the_threshold(tmp_path, written):
    postprocess.write(tmp_path / "postprocess.json", written, {"metric": "psds1"})
    for path in (tmp_path, tmp_path / "postprocess.json"):
        assert postprocess.read(path) == written
        assert choose(str(path), threshold=0.3).threshold == 0.3
    assert postprocess.of_model(tmp_path, {}) == written
    described = {"postprocess": choose("hear").to_json()}
    assert postprocess.of_model(tmp_path, described) == written
    value = json.loads((tmp_path / "postprocess.json").read_text())
    assert value["tuned"] == {"metric": "psds1"}


def test_a_model_without_a_file_is_as_it_was_evaluated(tmp_path):
    described = {"postprocess": choose("hear").to_json()}
    assert postprocess.of_model(tmp_path, described) == choose("hear")
    assert postprocess.of_model(tmp_path, {}) == choose()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "mean"}, "unknown postprocess 'mean'"),
        ({"median_seconds": -1}, "median filter width -1"),
        ({"classes": {"Bark": float("nan")}}, "median filter width nan"),
        ({"min_seconds": float("inf")}, "min_seconds=inf"),
        ({"threshold": 1}, "threshold=1 is not a probability"),
        ({"threshold": float("nan")}, "threshold=nan is not a probability"),
    ],
)
def test_numbers_out_of_range(changes, message):
    with pytest.raises(InputError, match=message):
        Postprocessing(**{"method": "class_medians", **changes})


def test_names_and_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="did you mean 'median'"):
        choose("medain")
    with pytest.raises(InputError, match="class_medians: give the file"):
        choose("class_medians")
    with pytest.raises(InputError, match=r"there is no .*json: `jaxsed tune` writes"):
        choose(tmp_path)
    file = tmp_path / "a.json"
    for text, message in (
        ("{", "cannot be read"),
        ("[]", "not a post-processing"),
        ('{"format": "other"}', "format 'other'"),
        (json.dumps(MEDIANS.to_json() | {"classes": {"Bark": "x"}}), "'x'"),
        (json.dumps(BOXES.to_json() | {"classes": {"Bark": {"step": 1}}}), "step"),
        (json.dumps(BOXES.to_json() | {"classes": {"Bark": {"step_seconds": 0}}}), "0"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message) as raised:
            choose(str(file))
        assert str(file) in str(raised.value)


def test_what_was_tuned_for_other_classes_is_refused():
    MEDIANS.check_classes(("Bell", "Wind"))
    choose().check_classes(("Wind",))
    with pytest.raises(InputError, match="tuned for other classes"):
        MEDIANS.check_classes(("Wind",))


def test_finished_events_are_cut_and_short_ones_left_out():
    onset, offset = np.array([4.0, 1.0, 9.9, 10.0]), np.array([4.2, 1.04, 10.4, 10.2])
    label, score = np.array([1, 0, 2, 0]), np.array([0.9, 0.8, 0.7, 0.6])
    chosen = choose("median", min_seconds=0.1)
    assert chosen.finished(onset, offset, label, score, 10.0) == [
        (4.0, 4.2, 1, 0.9),
        (9.9, 10.0, 2, 0.7),
    ]
