import json

import pytest

from jaxsed.data.layouts import audioset_weak as layout
from jaxsed.data.prepare import prepare
from jaxsed.data.problems import WHOLE_CLIP
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

from . import packs
from .packs import CLIPS, DOG, MUSIC, SPEECH, VIDEOS


def test_tables_as_released(tmp_path):
    packs.write_segments(tmp_path, "balanced_train", CLIPS[:1])
    packs.write_segments(tmp_path, "unbalanced_train", CLIPS[1:3])
    packs.write_segments(tmp_path, "eval", CLIPS[3:])
    assert layout.available_splits(tmp_path) == ["train", "eval"]
    source = layout.read(tmp_path, "train")
    assert (source.layout, source.split) == ("audioset_weak", "train")
    assert source.annotation == "clips"
    assert source.vocabulary == packs.CLASSES
    assert [clip.id for clip in source.clips] == sorted(VIDEOS[:3])
    first = source.clips[0]
    assert first.events == ((*WHOLE_CLIP, SPEECH, 4), (*WHOLE_CLIP, DOG, 4))
    assert first.listed_seconds == 10.0
    assert [clip.id for clip in layout.read(tmp_path, "eval").clips] == VIDEOS[3:]
    alone = layout.read(tmp_path, "unbalanced_train")
    assert [clip.id for clip in alone.clips] == VIDEOS[1:3]


def test_tables_may_lie_in_metadata(tmp_path):
    packs.write_segments(tmp_path / "metadata", "eval")
    assert layout.available_splits(tmp_path) == ["eval"]
    assert len(layout.read(tmp_path, "eval").clips) == len(CLIPS)


@pytest.mark.parametrize(
    "name",
    ["{video}.wav", "Y{video}.mp3", "{video}_{start}.flac", "Y{video}_{start}.opus"],
)
def test_sounds_are_found_by_any_of_their_names(tmp_path, name):
    packs.write_segments(tmp_path)
    # As the scripts of PANNs lay it out.
    packs.write_files(tmp_path, name, "audios/balanced_train_segments")
    source = layout.read(tmp_path, "train")
    for clip, (_, start, _) in zip(
        source.clips, sorted(CLIPS, key=lambda clip: clip[0]), strict=True
    ):
        assert clip.audio.path.name == name.format(video=clip.id, start=start)
    assert source.problems == ()


def test_several_segments_of_a_video(tmp_path):
    twice = [("abcdefghij1", 0, (MUSIC,)), ("abcdefghij1", 30_000, (DOG,)), CLIPS[2]]
    packs.write_segments(tmp_path, "balanced_train", twice)
    for name in ("abcdefghij1_30000.wav", "abcdefghij1.wav", "Yabcdefghij2.wav"):
        (tmp_path / name).touch()
    source = layout.read(tmp_path, "train")
    assert [clip.id for clip in source.clips] == [
        "abcdefghij1_0",
        "abcdefghij1_30000",
        "abcdefghij2",
    ]
    names = [clip.audio and clip.audio.name for clip in source.clips]
    assert names == [None, "abcdefghij1_30000.wav", "Yabcdefghij2.wav"]


def test_a_segment_listed_twice_is_one_clip(tmp_path):
    packs.write_segments(tmp_path, "balanced_train", [("abcdefghij1", 0, (MUSIC,))])
    packs.write_segments(tmp_path, "unbalanced_train", [("abcdefghij1", 0, (DOG,))])
    (clip,) = layout.read(tmp_path, "train").clips
    assert [event.label for event in clip.events] == [MUSIC, DOG]


def test_broken_lines_are_named_and_skipped(tmp_path):
    table = packs.write_segments(tmp_path, clips=CLIPS[:1])
    with open(table, "a", encoding="utf-8") as file:
        file.write('abcdefghij1, 30.000, 40.000, ""\n')
        file.write("abcdefghij2, 30.000\n")
        file.write('abcdefghij3, soon, 40.000, "/m/09x0r"\n\n')
        file.write('abcdefghij4, 40.000, 30.000, "/m/09x0r"\n')
        file.write('abcdefghij5, 0.000, 7.500, "/m/09x0r,/m/nothing"\r\n')
        file.write("abcdefghij6, 0.000, 10.000, /m/09x0r\n")  # no quotes: one label
    source = layout.read(tmp_path, "train")
    assert [problem.kind for problem in source.problems] == ["unreadable_line"] * 4
    assert [problem.detail.split(": ")[0] for problem in source.problems] == [
        f"balanced_train_segments.csv, line {line}" for line in (5, 6, 7, 9)
    ]
    assert [clip.id for clip in source.clips] == [
        VIDEOS[0],
        "abcdefghij5",
        "abcdefghij6",
    ]
    assert source.clips[1].listed_seconds == 7.5


def test_no_table_and_no_line(tmp_path):
    with pytest.raises(InputError, match=r"no eval_segments\.csv in "):
        layout.read(tmp_path, "eval")
    packs.write_segments(tmp_path, "eval", ())
    with pytest.raises(InputError, match="no line can be read as YTID, start_seconds"):
        layout.read(tmp_path, "eval")


def test_what_is_missing_is_counted_and_a_vocabulary_may_be_given(tmp_path):
    packs.write_segments(tmp_path / "source")
    packs.write_files(tmp_path / "source")
    (tmp_path / "source" / "audio" / f"Y{VIDEOS[3]}.mp3").unlink()
    (tmp_path / "source" / "audio" / f"Y{VIDEOS[2]}.mp3").write_bytes(b"<html>")
    pets = Vocabulary("pets", ("Dog", "Speech", "Cat"), (DOG, SPEECH, "/m/01yrx"))
    source = layout.read(tmp_path / "source", "train", pets)
    manifest = prepare(source, tmp_path / "out")
    counts = {entry["name"]: entry for entry in manifest["classes"]}
    assert {name: (n["clips"], n["missing"]) for name, n in counts.items()} == {
        "Dog": (1, 1),
        "Speech": (1, 1),
        "Cat": (0, 0),
    }
    for journal in tmp_path.glob("out/shards/*.json"):
        json.loads(journal.read_text(), parse_constant=pytest.fail)  # no Infinity
    # The clip of music alone has no class left, and nothing else is wrong with it.
    assert manifest["problems"] == {
        "missing": 1,
        "undecodable": 1,
        "no_events": 1,
        "unknown_label": 2,
    }
    assert list(PreparedData(tmp_path / "out").ids) == VIDEOS[:1]
    assert f"{VIDEOS[3]}\tunknown_label\tline 7: {MUSIC}: unknown class" in (
        tmp_path / "out" / "problems.tsv"
    ).read_text(encoding="utf-8")
