import json
import shutil

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.stages import strong, train, weak
from jaxsed.weights import files, fresh, named


def with_labels_of_clips(source, folder):
    """The same scenes, as if nobody knew when anything sounds."""
    shutil.copytree(source, folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotation": "clips"}))
    return str(folder)


@pytest.mark.parametrize("stage", [weak, strong])
def test_a_weight_of_teachers_that_is_none_is_refused_at_once(small, stage):
    with pytest.raises(InputError, match="the distillation weight is 2"):
        stage.task(small(**{"teacher.weight": 2.0}))


def test_what_clips_without_times_have_taught_is_kept(small, scenes, tmp_path):
    prepared = scenes / "prepared"
    clips = with_labels_of_clips(prepared / "train", tmp_path / "clips")
    heads = {"strong_head": 1, "weak_head": 2}
    for folders, kept in (
        ((str(prepared / "train"), clips), 2),
        (str(prepared / "train"), 1),
    ):
        config = small()
        config["data"]["train"] = folders
        assert strong.task(config).to_detector(heads)["weak_head"] == kept


@pytest.mark.parametrize(
    "head, by_clips, by_frames",
    [
        ("linear", (), ()),
        ("attention", (), ("weak_head",)),
        ("tokens", ("strong_head",), ("weak_head",)),
        ("token_semantic", (), ()),
    ],
)
def test_a_head_that_no_label_reaches_is_known(small, head, by_clips, by_frames):
    config = small(**{"model.head": head})
    assert weak.task(config).untrained == by_clips
    assert strong.task(config).untrained == by_frames


def test_licences_of_what_a_model_began_with_stay(monkeypatch):
    monkeypatch.setattr(named, "model_folder", lambda name: name)
    held = {"m2d": "NTT's own", "mine": "CC BY 4.0; NTT's own"}
    monkeypatch.setattr(
        files, "read_description", lambda folder: {"licence": held[folder]}
    )
    for own, init, licence in (
        ("", "", "none stated"),
        ("CC BY 4.0", "", "CC BY 4.0"),
        ("", "m2d", "NTT's own"),
        ("CC BY 4.0", "m2d", "CC BY 4.0; NTT's own"),
        ("CC BY 4.0", "mine", "CC BY 4.0; NTT's own"),
    ):
        assert train._licence({"licence": own, "init": init}) == licence


def test_a_head_that_was_brought_along_was_trained_if_it_was_there(small, monkeypatch):
    monkeypatch.setattr(named, "model_folder", lambda name: name)
    task = weak.task(small("weak", **{"model.head": "tokens"}))
    params = {"strong_head": {"kernel": np.zeros((2, 3), np.float32)}}
    start = {"init": "start", "carry": "all", "seed": 3}
    drawn = train._drawn(params, {**start, "carry": "encoder"}, task)
    assert fresh.drawn_heads(drawn) == ["strong_head"]
    for before in (drawn, {}):
        described = {"provenance": {"fresh": before}}
        monkeypatch.setattr(files, "read_description", lambda folder, d=described: d)
        assert train._drawn(params, start, task) == before
