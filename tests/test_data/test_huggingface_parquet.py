import builtins

import pytest

from jaxsed.data.layouts import huggingface_parquet as layout
from jaxsed.data.prepare import prepare
from jaxsed.data.problems import WHOLE_CLIP
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels import vocab

from . import packs
from .packs import DOG, EVENTS, SOUNDS, SPEECH, VIDEOS

WEAK = ("labels", "label", "label_ids", "human_labels")


def columns_with(**changes):
    """The columns of AudioSet on the Hub, some replaced (None: left out)."""
    columns = packs.clip_columns() | changes
    return {name: values for name, values in columns.items() if values is not None}


def read(root, columns, split="train", **options):
    packs.write_parquet(root, columns, **options)
    return layout.read(root, split)


def labels_of(source):
    return [[event.label for event in clip.events] for clip in source.clips]


def test_audioset_as_on_the_hub(tmp_path):
    source = read(tmp_path, packs.clip_columns(), name="data/bal_train/00.parquet")
    assert (source.layout, source.split) == ("huggingface_parquet", "train")
    assert (source.annotation, source.vocabulary) == ("clips", packs.CLASSES)
    assert [clip.id for clip in source.clips] == sorted(VIDEOS)
    assert source.clips[0].events == ((*WHOLE_CLIP, SPEECH, 0), (*WHOLE_CLIP, DOG, 0))
    assert source.clips[0].audio.name == "data/bal_train/00.parquet[0]"
    assert {clip.id: clip.audio.read() for clip in source.clips} == dict(
        zip(VIDEOS, SOUNDS)
    )


def test_labels_may_be_names_or_one_label(tmp_path):
    names = columns_with(labels=None)  # leaves human_labels
    several = read(tmp_path / "names", names)
    assert labels_of(several)[0] == ["Speech", "Dog"]
    assert several.labels == "multi"
    one = columns_with(labels=None, human_labels=None, label=["Speech"] * 3 + [None])
    source = read(tmp_path / "one", one)
    assert source.vocabulary == packs.CLASSES
    assert sorted(labels_of(source)) == [[], ["Speech"], ["Speech"], ["Speech"]]
    assert source.labels == "single"


@pytest.mark.parametrize("feature", ["list", "Sequence", "one"])
def test_numbered_classes_are_looked_up(tmp_path, feature):
    names = {"_type": "ClassLabel", "names": ["door knock", "cat purr", "rain"]}
    numbers = [[2], [0], [1], [7]]
    if feature == "one":
        numbers = [number for (number,) in numbers]
        features = {"label": names}
    else:
        inside = {"feature": names, "_type": "Sequence"}
        features = {"label": [names] if feature == "list" else inside}
    columns = columns_with(labels=None, human_labels=None, label=numbers)
    source = read(tmp_path, columns, features=features)
    by_clip = dict(zip((clip.id for clip in source.clips), labels_of(source)))
    expected = ["rain"], ["door knock"], ["cat purr"], ["class 7"]
    assert [by_clip[video] for video in VIDEOS] == list(expected)
    assert source.vocabulary.names == ("door knock", "cat purr", "rain")
    assert source.vocabulary.mids == (None,) * 3
    with pytest.raises(InputError, match="label holds numbers, and the file does not"):
        read(tmp_path, columns)


def test_classes_that_are_not_of_audioset_are_sorted_by_name(tmp_path):
    labels = [["rain"], ["Speech"], ["knock", "rain"], []]
    source = read(tmp_path, columns_with(labels=labels))
    assert source.vocabulary.names == ("Speech", "knock", "rain")
    assert source.vocabulary.mids == (None,) * 3


def test_events_of_audioset_get_the_released_classes(tmp_path):
    strong = vocab.load("audioset_strong_447")
    columns = packs.clip_columns()
    events = [{"onset": 0.0, "offset": 1.0, "label": mid} for mid in strong.mids]
    columns["events"] = [events, [], events[:2], None]
    assert read(tmp_path, columns).vocabulary == strong


def strong_columns(form, onset, offset, label):
    """The events of `packs`, under other names and in another form."""
    columns = packs.event_columns()
    events = [
        [[event["onset"], event["offset"], event["event_label_id"]] for event in clip]
        for clip in columns.pop("events")
    ]
    names = onset, offset, label
    if form == "structures":
        columns["events"] = [[dict(zip(names, e)) for e in clip] for clip in events]
    else:
        lists = [dict(zip(names, map(list, zip(*clip)))) for clip in events]
        if form == "lists":
            columns["events"] = lists
        else:
            columns |= {name: [clip[name] for clip in lists] for name in names}
    return columns


@pytest.mark.parametrize("form", ["structures", "lists", "side by side"])
@pytest.mark.parametrize(
    "names",
    [
        ("onset", "offset", "event_label_id"),
        ("start_time_seconds", "end_time_seconds", "event_label"),
        ("onsets", "offsets", "event_labels"),
    ],
)
def test_events_in_every_form(tmp_path, form, names):
    source = read(tmp_path, strong_columns(form, *names))
    assert source.annotation == "frames"
    found = [(clip.id, *event[:3]) for clip in source.clips for event in clip.events]
    assert found == sorted(EVENTS, key=lambda event: event[0])


def test_clips_may_be_asked_for_where_there_are_events(tmp_path):
    packs.write_parquet(tmp_path, packs.event_columns())
    assert layout.read(tmp_path, "train").annotation == "frames"
    source = layout.read(tmp_path, "train", annotation="clips")
    assert source.annotation == "clips"
    assert labels_of(source)[0] == ["Speech", "Dog"]
    packs.write_parquet(tmp_path, packs.clip_columns())
    with pytest.raises(InputError, match="no column of labels; expected events"):
        layout.read(tmp_path, "train", annotation="frames")


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        ({"segment_id": ["s0", "s1", "s2", "s3"]}, ["s0", "s1", "s2", "s3"]),
        ({"video_id": None, "id": [3, 1, 0, 2]}, ["0", "1", "2", "3"]),
        (
            {"video_id": None, "filename": ["a/1.b.wav", "2.mp3", "3", "4"]},
            ["1.b", *"234"],
        ),
        ({"video_id": None}, sorted(VIDEOS)),
    ],
)
def test_ids(tmp_path, changes, ids):
    source = read(tmp_path, columns_with(**changes))
    assert [clip.id for clip in source.clips] == ids


def test_rows_without_an_id_and_ids_that_come_twice(tmp_path):
    columns = columns_with(video_id=["a", None, "a", "b"])
    packs.write_parquet(tmp_path, columns)
    packs.write_parquet(
        tmp_path, columns_with(video_id=["c", "d", "b", "e"]), "z.parquet"
    )
    source = layout.read(tmp_path, "train")
    assert [clip.id for clip in source.clips] == ["a", "b", "c", "d", "e"]
    assert [problem[:2] for problem in source.problems] == [
        ("", "unreadable_line"),
        ("a", "duplicate_audio"),
        ("b", "duplicate_audio"),
    ]
    assert "z.parquet[2]: not used" in source.problems[2].detail


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("00.parquet", "train"),
        ("data/train-00000-of-00010.parquet", "train"),
        ("data/unbal_train/800.parquet", "train"),
        ("data/eval/01.parquet", "eval"),
        ("test-00000-of-00001-95094bb0657b6e1e.parquet", "eval"),
        ("train/testing.parquet", "eval"),
        ("dev.parquet", "validation"),
        ("latest/contest.parquet", "train"),
    ],
)
def test_splits_are_in_the_names(tmp_path, name, split):
    root = tmp_path / "my_test_data"
    packs.write_parquet(root, packs.clip_columns(), name)
    assert layout.available_splits(root) == [split]


def test_the_folder_itself_may_be_called_as_a_split(tmp_path):
    packs.write_parquet(tmp_path / "eval", packs.clip_columns(), "00.parquet")
    assert layout.available_splits(tmp_path / "eval") == ["eval"]
    with pytest.raises(InputError, match=r"no parquet file of train in .* train, trai"):
        layout.read(tmp_path / "eval", "train")


def test_links_are_followed_and_the_output_is_not_searched(tmp_path):
    """Hugging Face's cache is made of links."""
    path = packs.write_parquet(tmp_path / "blobs", packs.clip_columns(), "5f3c")
    (tmp_path / "snapshot" / "data").mkdir(parents=True)
    (tmp_path / "snapshot" / "data" / "00.parquet").symlink_to(path)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train").symlink_to(tmp_path / "snapshot")
    packs.write_parquet(tmp_path / "source", packs.clip_columns(), "out/00.parquet")
    out = tmp_path / "source" / "out"
    assert layout.files_of(tmp_path / "source", "train", exclude=out) == [
        "train/data/00.parquet"
    ]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"audio": None}, r"no column of sounds.* found video_id \(string\), labels"),
        ({"audio": [[0.0, 0.1]] * 4}, "no column of sounds"),
        ({"audio": [{"array": [0.0], "path": "a"}] * 4}, "no column of sounds"),
        ({"audio": ["a.wav"] * 4}, "no column of sounds"),
        (
            {"labels": None, "human_labels": None},
            "no column of labels; expected events",
        ),
        (
            {"video_id": None, "audio": SOUNDS},
            "no column names the clips; expected one",
        ),
    ],
)
def test_columns_that_are_missing_are_named(tmp_path, changes, cause):
    with pytest.raises(InputError, match=cause) as error:
        read(tmp_path, columns_with(**changes))
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_refused_together(tmp_path):
    packs.write_parquet(tmp_path, packs.clip_columns(), "0.parquet")
    whole = (tmp_path / "0.parquet").read_bytes()
    (tmp_path / "1.parquet").write_bytes(whole[:-100])
    (tmp_path / "2.parquet").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\n"
    )
    cause = r"1\.parquet is not a whole parquet file .* or remove it \(and 1 files more"
    with pytest.raises(InputError, match=cause):
        layout.read(tmp_path, "train")


def test_nothing_is_labelled(tmp_path):
    nothing = {"onset": 0.0, "offset": 1.0, "label": None}
    columns = packs.clip_columns() | {"events": [[nothing], [], [], []]}
    columns["events"][0][0]["label"] = ""
    with pytest.raises(InputError, match="no row of train has a label"):
        read(tmp_path, columns)


def test_broken_sounds_and_times_do_not_stop_the_rest(tmp_path):
    columns = packs.event_columns()
    columns["mp3_bytes"] = [b"", None, *SOUNDS[2:]]
    columns["events"][2] = [
        {"onset": 1.0, "offset": None, "event_label": "Dog", "event_label_id": DOG},
        {"onset": 3.0, "offset": 99.0, "event_label": "Dog", "event_label_id": DOG},
        {"onset": 1.0, "offset": 2.0, "event_label": None, "event_label_id": None},
    ]
    manifest = prepare(read(tmp_path / "source", columns), tmp_path / "out")
    assert manifest["problems"] == {
        "missing": 1,
        "empty": 1,
        "unknown_label": 1,
        "reversed": 1,
        "outside_clip": 1,
    }
    data = PreparedData(tmp_path / "out")
    assert len(data) == 2
    assert [(e.onset, e.offset) for e in data.events(1)] == [(3.0, data.durations[1])]


def test_damage_among_the_labels_is_refused(tmp_path):
    from pyarrow import parquet

    path = packs.write_parquet(tmp_path, packs.clip_columns(), rows=1)
    groups = parquet.ParquetFile(path).metadata
    chunk = next(
        column
        for column in map(groups.row_group(1).column, range(groups.num_columns))
        if column.path_in_schema.startswith("labels")
    )
    with open(path, "r+b") as file:
        file.seek(chunk.dictionary_page_offset)
        file.write(b"\xff" * 20)
    with pytest.raises(
        InputError, match=r"00000\.parquet is damaged .* fetch it again"
    ):
        layout.read(tmp_path, "train")


def test_without_pyarrow_it_is_said_what_to_install(tmp_path, monkeypatch):
    packs.write_parquet(tmp_path, packs.clip_columns())
    import_it = builtins.__import__

    def without(name, *rest):
        if name == "pyarrow":
            raise ImportError(name)
        return import_it(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pyarrow: pip install 'jaxsed\[parquet\]'"):
        layout.read(tmp_path, "train")
