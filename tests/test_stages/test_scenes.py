import numpy as np

from jaxsed.data.records import PreparedData
from jaxsed.stages import scenes as scenes_stage


def test_scenes_are_prepared_as_audioset_strong_is(scenes):
    train = PreparedData(scenes / "prepared" / "train")
    assert len(train) == 16 and not train.manifest["problems"]
    np.testing.assert_allclose(train.durations, 10.0)
    assert all(train.events(row) for row in range(len(train)))


def test_scenes_that_are_there_are_kept(scenes):
    before = {p: p.stat().st_mtime_ns for p in scenes.rglob("*.flac")}
    config = {"stage": "scenes", "train_clips": 16, "eval_clips": 8, "seed": 0}
    scenes_stage.run(config, scenes)
    assert before == {p: p.stat().st_mtime_ns for p in scenes.rglob("*.flac")}
