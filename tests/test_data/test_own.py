import pytest

from jaxsed.data.layouts import hear
from jaxsed.data.layouts import own as layout
from jaxsed.data.layouts.event_columns import EventOptions
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

from .clip_folders import write_sound, write_text
from .event_folders import write_hear
from .test_event_lines import RAVEN
from .test_prepare_command import run

HEADER = "filename\tonset\toffset\tevent_label\tsplit\n"
TABLE = (
    HEADER
    + "a.wav\t0.1\t0.2\tDog\ttrain\na.wav\t0.3\t0.4\tCat\ttrain\n"
    + "deep/b.wav\t\t\t\ttrain\nc.wav\t0\t1\tDog\ttest\n"
)
NOTHING_SOUNDS = EventOptions(unlabelled="nothing")


def write_own(root, table=TABLE, sounds=("a.wav", "deep/b.flac", "c.ogg")):
    write_text(root / "labels.tsv", table)
    for k, name in enumerate(sounds):
        write_sound(root / "audio" / name, 0.5 + k)
    return root


def prepared(root, out, split="train", options=None):
    options = options or EventOptions()
    manifest = prepare(layout.read(root, split, options=options), out)
    data = PreparedData(out)
    return manifest, {clip: data.events(i) for i, clip in enumerate(data.ids)}


def splits_of(root, **options):
    options = EventOptions(**options)
    return {
        clip.id: split
        for split in layout.available_splits(root, options)
        for clip in layout.read(root, split, options=options).clips
    }


def test_a_table_with_splits(tmp_path):
    root = write_own(tmp_path / "mine")
    assert run("own", root, "--out", tmp_path / "out", "--workers", 1) == 0
    train, evaluation = (PreparedData(tmp_path / "out" / s) for s in ("train", "eval"))
    assert list(train.ids) == ["a", "deep-b"] and list(evaluation.ids) == ["c"]
    assert train.vocabulary.names == ("Cat", "Dog")
    assert train.vocabulary.hash == evaluation.vocabulary.hash
    assert train.events(0) == [Event(0.1, 0.2, 1), Event(0.3, 0.4, 0)]
    assert train.events(1) == []
    assert evaluation.durations.tolist() == [2.5]
    assert train.manifest["annotation"] == "frames"


def test_what_is_wrong_is_counted(tmp_path):
    rows = "a.wav\t0.2\t0.1\tDog\ttrain\na.wav\t0.4\t99\tDog\ttrain\n"
    rows += "a.wav\t5\t6\tDog\ttrain\na.wav\t-1\t0.1\tDog\ttrain\n"
    rows += "deep/b.wav\tx\t1\tDog\ttrain\ngone.wav\t0\t1\tCat\ttrain\n"
    rows += "c.wav\t0\t1\tCat\tlater\nc.wav\t0\t1\tCat\t\n"
    root = write_own(tmp_path / "mine", HEADER + rows)
    manifest, events = prepared(root, tmp_path / "out")
    assert manifest["problems"] == {
        "missing": 1,
        "no_events": 1,  # b: its line is broken, which does not make it silent
        "unreadable_line": 1,
        "unknown_split": 1,
        "reversed": 1,
        "negative_time": 1,
        "outside_clip": 2,
    }
    assert events == {"a": [Event(0.0, 0.1, 1), Event(0.4, 0.5, 1)]}
    problems = (tmp_path / "out" / "problems.tsv").read_text()
    assert "labels.tsv, line 6: times 'x', '1' are not numbers" in problems
    assert "labels.tsv, c: 'later' is neither train, validation nor test" in problems


def test_labels_that_the_vocabulary_lacks(tmp_path):
    root = write_own(tmp_path / "mine", TABLE.replace("Cat", "Dogg"))
    classes = write_text(tmp_path / "v.json", '{"name": "v", "classes": ["Dog"]}')
    arguments = ("own", root, "--out", tmp_path / "out", "--vocabulary", classes)
    assert run(*arguments, "--workers", 1) == 3
    problems = (tmp_path / "out" / "train" / "problems.tsv").read_text()
    assert "unknown class 'Dogg'" in problems and "did you mean 'Dog'?" in problems


def test_recordings_that_nothing_is_said_of(tmp_path):
    rows = "".join(f"{k}.wav\t0\t0.1\tx\n" * 2 for k in range(8))
    names = [f"{k}.wav" for k in range(9)] + ["0.flac"]
    root = write_own(tmp_path / "mine", HEADER.replace("\tsplit", "") + rows, names)
    write_text(root / "audio" / "notes.docx", "")
    manifest, _ = prepared(root, tmp_path / "out")
    assert manifest["problems"].pop("unlabelled") == 1  # 0.flac is 0, too
    assert "audio/8.wav" in (tmp_path / "out" / "problems.tsv").read_text()
    assert splits_of(root).keys() == {str(k) for k in range(8)}
    kept = splits_of(root, unlabelled="nothing")
    assert kept.keys() == {str(k) for k in range(8)} | {"audio-8"}
    out = tmp_path / "kept"
    manifest, events = prepared(root, out, kept["audio-8"], NOTHING_SOUNDS)
    assert events["audio-8"] == [] and "unlabelled" not in manifest["problems"]


def test_what_r_and_pandas_write_for_nothing_is_no_class(tmp_path):
    rows = "a.wav\t0\t1\tDog\ttrain\ndeep/b.wav\tNA\tNA\tNA\ttrain\n"
    rows += "c.wav\tnan\tnan\tnan\ttrain\nc.wav\t0\t1\tnan\ttrain\n"
    source = layout.read(write_own(tmp_path, HEADER + rows), "train")
    assert source.vocabulary.names == ("Dog",)
    assert [problem.kind for problem in source.problems] == ["unreadable_line"]


def test_a_table_from_a_place_where_the_folder_lay_deeper(tmp_path):
    table = TABLE.replace("a.wav", "/home/me/mine/audio/a.wav")
    root = write_own(tmp_path, table)
    train = layout.read(root, "train")
    assert all(clip.audio for clip in train.clips) and train.problems == ()


def test_what_is_unlabelled_has_no_split_where_a_column_says_it(tmp_path):
    root = write_own(tmp_path, sounds=("a.wav", "deep/b.flac", "c.ogg", "d.wav"))
    message = "--unlabelled nothing: no table says which split audio/d and 0 others"
    with pytest.raises(InputError, match=message):
        layout.read(root, "train", options=NOTHING_SOUNDS)


def test_recordings_are_split_at_random_as_a_whole(tmp_path):
    rows = "".join(f"{k // 3}.wav\t{k}\t{k + 1}\tx\n" for k in range(60))
    write_text(tmp_path / "t.tsv", HEADER.replace("\tsplit", "") + rows)
    splits = splits_of(tmp_path, eval_share=0.2, validation_share=0.2, seed=3)
    assert len(splits) == 20  # none of them twice
    counts = [list(splits.values()).count(each) for each in layout.SPLITS]
    assert counts == [12, 4, 4]
    assert splits != splits_of(tmp_path, eval_share=0.2, validation_share=0.2, seed=4)


def test_folds(tmp_path):
    table = HEADER.replace("split", "fold") + "".join(
        f"{k}.wav\t0\t1\tx\t{k % 3}\n" for k in range(6)
    )
    write_text(tmp_path / "t.tsv", table)
    splits = splits_of(tmp_path, eval_folds=("2",))
    assert [clip for clip, split in splits.items() if split == "eval"] == ["2", "5"]


def test_one_line_of_a_recording_may_say_its_split(tmp_path):
    write_text(tmp_path / "t.tsv", TABLE.replace("Cat\ttrain", "Cat\t"))
    train = layout.read(tmp_path, "train")
    assert len(train.clips[0].events) == 2 and train.problems == ()
    write_text(tmp_path / "t.tsv", TABLE.replace("Cat\ttrain", "Cat\tval"))
    with pytest.raises(
        InputError, match="a is in train and in validation; a recording"
    ):
        layout.read(tmp_path, "train")


def write_tracks(root):
    for k, name in enumerate(("day1/a", "day1/b", "day2/a", "day2/c")):
        write_sound(root / f"{name}.wav", 0.5 + k)
    write_text(root / "day1" / "a.txt", "0.1\t0.3\tDog\n0.2\t0.1\tDog\n")
    write_text(root / "day1" / "b.txt", "")
    write_text(root / "day2" / "a.txt", "0.1\t0.2\tCat\n0.4\tx\tCat\n")
    write_text(root / "gone.txt", "0.1\t0.2\tCat\n")
    write_text(root / "readme.txt", "How this was recorded\n")
    return root


def test_label_tracks_beside_the_recordings(tmp_path):
    root = write_tracks(tmp_path / "mine")
    splits = splits_of(root)
    assert set(splits) == {"day1-a", "day1-b", "day2-a"}
    clips = {
        clip.id: clip
        for split in set(splits.values())
        for clip in layout.read(root, split).clips
    }
    sounds = {clip: clips[clip].audio and clips[clip].audio.name for clip in clips}
    assert sounds == {
        "day1-a": "day1/a.wav",
        "day1-b": "day1/b.wav",
        "day2-a": "day2/a.wav",
    }
    assert run("own", root, "--out", tmp_path / "out", "--workers", 1) == 3
    data = PreparedData(tmp_path / "out" / "train")
    found = data.manifest["problems"]
    assert (found["missing"], found["unlabelled"]) == (1, 1)  # gone.txt, day2/c.wav
    of_gone = (tmp_path / "out" / "train" / "problems.tsv").read_text()
    assert "gone.txt: no recording gone beside it" in of_gone
    events = {
        clip: [event.label for event in read.events(row)]
        for read in map(PreparedData, (tmp_path / "out" / s for s in splits.values()))
        for row, clip in enumerate(read.ids)
    }
    names = {clip: len(labels) for clip, labels in events.items()}
    assert names == {"day1-a": 1, "day1-b": 0, "day2-a": 1}
    assert data.vocabulary.names == ("Cat", "Dog")
    assert "day2-c" in splits_of(root, unlabelled="nothing")


def test_a_label_track_is_of_the_recording_beside_it(tmp_path):
    for name in ("y.wav", "z.wav", "deep/z.wav", "deep/gone.wav"):
        write_sound(tmp_path / name)
    for name in ("y.txt", "z.txt", "gone.txt"):
        write_text(tmp_path / name, "0\t0.1\tDog\n")
    for unlabelled in ("left_out", "nothing"):
        options = EventOptions(unlabelled=unlabelled)
        sounds = {
            clip.id: clip.audio and clip.audio.name
            for split in layout.available_splits(tmp_path, options)
            for clip in layout.read(tmp_path, split, options=options).clips
        }
        assert sounds["z"] == "z.wav" and "gone" not in sounds


def test_a_line_that_fits_recordings_of_several_places_is_refused(tmp_path):
    sounds = ("day1/a.wav", "day2/a.wav", "c.wav")
    root = write_own(
        tmp_path / "mine", HEADER + "a.wav\t0.1\t0.2\tDog\ttrain\n", sounds
    )
    with pytest.raises(InputError, match=r"audio/day1/a\.wav or of audio/day2/a\.wav"):
        layout.read(root, "train")


def test_selection_tables_beside_the_recordings(tmp_path):
    for name in "abc":
        write_sound(tmp_path / f"{name}.wav")
        row = f"1\tSpectrogram 1\t1\t0.05\t0.1\t0\t{name}\n"
        write_text(tmp_path / f"{name}.Table.1.selections.txt", RAVEN + row)
    row = "1\tSpectrogram 1\t1\t0.1\t0.15\t0\tz\n"
    write_text(tmp_path / "a.Table.2.selections.txt", RAVEN + row)
    write_text(tmp_path / "a.txt", "0\t0.1\tnot this\n")
    split = splits_of(tmp_path)["a"]
    source = layout.read(tmp_path, split)
    assert source.vocabulary.names == ("a", "b", "c", "z")
    labels = {clip.id: [e.label for e in clip.events] for clip in source.clips}
    assert labels["a"] == ["a", "z"]
    tracks = splits_of(tmp_path, label_format="audacity", unlabelled="nothing")
    assert set(tracks) == {"a", "b", "c"}


def test_nothing_to_go_by(tmp_path):
    write_sound(tmp_path / "a.wav")
    assert layout.available_splits(tmp_path) == []
    with pytest.raises(
        InputError, match=r"lacks a table .* or label files of Audacity"
    ):
        layout.read(tmp_path, "train")
    write_text(tmp_path / "a.txt", "")
    with pytest.raises(InputError, match="1 clips cannot be split at random"):
        layout.read(tmp_path, "train")
    write_text(tmp_path / "b.txt", "")
    write_sound(tmp_path / "b.wav")
    with pytest.raises(InputError, match="nothing has a label"):
        layout.read(tmp_path, "train")
    write_text(tmp_path / "b.txt", "0\t1\tx\n")
    with pytest.raises(InputError, match="no recording of validation"):
        layout.read(tmp_path, "validation")


def test_classes_that_are_written_in_two_ways(tmp_path):
    root = write_own(tmp_path, TABLE.replace("Cat", "dog"))
    with pytest.raises(
        InputError, match=r"'Dog' \(labels\.tsv, line 2\) and 'dog' \(lab"
    ):
        layout.read(root, "train")
    pets = Vocabulary("pets", ("Dog", "dog"))
    assert layout.read(root, "train", pets).vocabulary is pets


def test_the_same_labels_in_any_form_are_the_same_data(tmp_path):
    names, hashes = ("a", "b", "c"), {}
    rows = {"table": "file,start,end,label\n"}
    for k, name in enumerate(names):
        for form in ("table", "audacity", "raven"):
            write_sound(tmp_path / form / f"{name}.wav", 0.5, hz=100 * (k + 1))
        rows["table"] += f"{name}.wav,0.125,0.25,{name}\n"
        write_text(tmp_path / "audacity" / f"{name}.txt", f"0.125\t0.25\t{name}\n")
        row = f"1\tWaveform 1\t1\t0.125\t0.25\t0\t{name}\n"
        write_text(tmp_path / "raven" / f"{name}.selections.txt", RAVEN + row)
    write_text(tmp_path / "table" / "labels.csv", rows["table"])
    for form in ("table", "audacity", "raven"):
        manifest, events = prepared(tmp_path / form, tmp_path / "out" / form)
        hashes[form] = manifest["content_hash"]
    labels = "idx,label\n" + "".join(f"{k},{name}\n" for k, name in enumerate(names))
    files = {f"{name}.wav": [(name, 125, 250)] for name in events}
    task = write_hear(tmp_path / "hear", {"train": files}, vocabulary=labels)
    for name in events:
        sound = task / "48000" / "train" / f"{name}.wav"
        sound.write_bytes((tmp_path / "table" / f"{name}.wav").read_bytes())
    manifest = prepare(hear.read(task, "train"), tmp_path / "out" / "hear")
    assert set(hashes.values()) == {manifest["content_hash"]}
