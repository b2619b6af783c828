import json

import pytest

from benchmarks import downstream, downstream_scenes
from jaxsed.data.layouts import desed, hear
from jaxsed.labels.vocab import Vocabulary


def test_runs_differ_in_what_is_compared():
    chain = downstream.build_chain()
    links = chain["links"]
    assert sorted(chain["order"]) == sorted(links)
    frozen, tuned, scratch = (
        links[downstream.link_name("DESED", "atst_frame", way, 2)]
        for way in downstream.WAYS
    )
    assert (frozen["mode"], tuned["mode"], scratch["mode"]) == (
        "frozen",
        "finetune",
        "finetune",
    )
    assert frozen["init"] == tuned["init"] == "@/strong_atst_frame/model"
    assert scratch["init"] == "" and scratch["steps"] == tuned["steps"]
    for one in (frozen, tuned, scratch):
        assert one["seed"] == 2 and one["eval"] == tuned["eval"]
        assert one["data"] == tuned["data"]


def test_the_table_says_what_is_significant(tmp_path):
    for task, (_, _, *metrics) in downstream.TASKS.items():
        for encoder in downstream.ENCODERS:
            for level, way in enumerate(downstream.WAYS):
                for seed in downstream.SEEDS:
                    folder = tmp_path / downstream.link_name(task, encoder, way, seed)
                    folder.mkdir()
                    value = 0.1 * (level if task == "DESED" else -level) + 0.01 * seed
                    line = {"step": 1} | {f"eval/{m}": value for m in metrics}
                    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    lines = downstream.report(tmp_path).splitlines()
    worse = next(line for line in lines if "| fine-tuned |" in line)
    assert worse.startswith("| tiny_atst_frame | fine-tuned | 0.120 ± 0.010 |")
    assert "(better)" not in worse and worse.endswith("| 1.00 |")
    better = [line for line in lines if "0.00 (better)" in line]
    assert len(better) == 4  # both ways of both encoders where scores fall


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    few = {split: (*row[:-1], 2) for split, row in downstream_scenes.DESED.items()}
    one = {split: (*row[:-1], 1) for split, row in downstream_scenes.HEAR.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downstream_scenes, "DESED", few)
        patch.setattr(downstream_scenes, "HEAR", one)
        patch.setattr(downstream_scenes, "SCENES_A_RECORDING", 2)
        downstream_scenes.make(root)
        downstream_scenes.make(root)  # finds all done
    return root


def test_scenes_are_in_desed_layout(scenes):
    assert set(desed.available_splits(scenes / "desed")) == set(downstream_scenes.DESED)
    known = downstream_scenes.classes(downstream_scenes.DESED_CLASSES)
    vocabulary = Vocabulary("", tuple(sorted(known.values())))
    for split in downstream_scenes.DESED:
        source = desed.read(scenes / "desed", split, vocabulary)
        assert source.problems == () and len(source.clips) in (1, 2)
        labels = {event.label for clip in source.clips for event in clip.events}
        assert labels - {""} <= set(known.values())


def test_scenes_are_in_hear_layout(scenes):
    clips = {
        split: hear.read(scenes / "hear", split).clips for split in hear.SPLITS[:3]
    }
    ids = [clip.id for split in clips.values() for clip in split]
    assert len(set(ids)) == 3
    train = clips["train"][0]
    assert max(event.onset for event in train.events) > 10  # of the second scene
    assert all(event.offset <= 20.01 for event in train.events)
