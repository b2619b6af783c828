import numpy as np
import pytest

from jaxsed.data.layouts import clips as layout
from jaxsed.data.layouts.clip_columns import TableOptions
from jaxsed.data.pipelines import evaluation_batches, training_batches
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.vocab import Vocabulary

from .clip_folders import RATE, write_sound, write_text

TABLE = """file,label,split
audio/a.wav,zebra,train
audio/sub/b.wav,"ant, small",train
audio/c.wav,ant,test
"""


def write_clips(
    root, table=TABLE, names=("audio/a.wav", "audio/sub/b.flac", "audio/c.wav")
):
    write_text(root / "clips.csv", table)
    for name in names:
        write_sound(root / name)
    return root


def test_a_folder_and_a_table(tmp_path):
    write_clips(tmp_path)
    assert layout.available_splits(tmp_path) == ["train", "eval"]
    train, evaluation = (layout.read(tmp_path, split) for split in ("train", "eval"))
    assert [clip.id for clip in train.clips] == ["a", "sub-b"]
    assert [clip.audio.name for clip in train.clips] == [
        "audio/a.wav",
        "audio/sub/b.flac",
    ]
    assert np.isnan(train.clips[0].listed_seconds)
    assert [clip.id for clip in evaluation.clips] == ["c"]
    assert train.vocabulary == evaluation.vocabulary
    assert train.vocabulary.names == ("ant", "ant, small", "zebra")
    assert (train.labels, train.annotation) == ("single", "clips")
    with pytest.raises(InputError, match=r"clips\.csv in .*: no clip of validation"):
        layout.read(tmp_path, "validation")


def test_a_file_of_another_split_is_not_taken_for_one_that_is_called_alike(tmp_path):
    table = "file,label,split\nx/a.wav,ant,train\nold/x/a.wav,ant,test\n"
    write_clips(tmp_path, table, ["x/a.wav", "old/x/a.wav"])
    train, evaluation = (layout.read(tmp_path, split) for split in ("train", "eval"))
    assert [clip.audio.name for clip in train.clips] == ["x/a.wav"]
    assert [clip.audio.name for clip in evaluation.clips] == ["old/x/a.wav"]
    assert train.problems == ()
    write_sound(tmp_path / "x" / "a.flac")
    train, evaluation = (layout.read(tmp_path, split) for split in ("train", "eval"))
    assert [problem.kind for problem in train.problems] == ["duplicate_audio"]
    assert evaluation.problems == ()


def test_a_clip_of_two_splits_is_refused(tmp_path):
    for split in ("train", "test"):
        write_text(tmp_path / f"{split}.csv", "file,label\n1.wav,ant\n")
        write_sound(tmp_path / split / "1.wav")
    expected = (
        r"test\.csv and train\.csv in .*: 1 is in eval and in train; .* their folders"
    )
    with pytest.raises(InputError, match=expected):
        layout.read(tmp_path, "train")


def test_several_labels_in_a_cell_or_in_several_lines(tmp_path):
    write_clips(tmp_path, "file,labels,split\na,x;y,train\na,z;y,train\nc,x,train\n")
    source = layout.read(tmp_path, "train")
    assert source.labels == "multi"
    manifest = prepare(source, tmp_path / "out")
    assert manifest["labels"] == "multi"
    assert manifest["problems"] == {"duplicate": 1}  # y, twice
    data = PreparedData(tmp_path / "out")
    assert [[e.label for e in data.events(i)] for i in range(2)] == [[0, 1, 2], [0]]


def test_a_second_label_where_there_is_one_each(tmp_path):
    write_clips(
        tmp_path, "file,label,split\na,x,train\na,y,train\na,x,train\nc,y,test\n"
    )
    source = layout.read(tmp_path, "train")
    ((clip, kind, detail),) = source.problems
    assert (clip, kind, detail) == ("a", "several_labels", "line 3: y as well as x")
    manifest = prepare(source, tmp_path / "out")
    assert manifest["problems"] == {"several_labels": 1, "duplicate": 1}
    several = TableOptions(labels="multi")
    assert layout.read(tmp_path, "train", options=several).problems == ()


def test_missing_and_broken_sounds_are_counted_by_class(tmp_path):
    root = write_clips(tmp_path / "source", names=())
    write_text(root / "audio" / "a.wav", b"RIFF")
    manifest = prepare_one(root, tmp_path / "out", {"audio/d.wav": "ant"})
    assert manifest["problems"] == {"missing": 1, "undecodable": 1}
    counts = {c["name"]: (c["clips"], c["missing"]) for c in manifest["classes"]}
    assert counts == {"ant": (1, 0), "ant, small": (0, 1), "zebra": (0, 1)}


def prepare_one(root, out, more):
    table = TABLE + "".join(f"{file},{label},train\n" for file, label in more.items())
    write_text(root / "clips.csv", table)
    for file in more:
        write_sound(root / file)
    return prepare(layout.read(root, "train"), out)


def test_a_clip_without_a_label_is_left_out_and_counted(tmp_path):
    root = write_clips(tmp_path / "source", TABLE.replace("zebra", ""))
    manifest = prepare(layout.read(root, "train"), tmp_path / "out")
    assert manifest["problems"] == {"no_events": 1}
    write_text(root / "clips.csv", "file,label,split\na,,train\n")
    with pytest.raises(InputError, match=r"clips\.csv: no line has a label"):
        layout.read(root, "train")


def test_odd_characters(tmp_path):
    labels = ["café ☕", "a/b\\c", "鳥の声", "{x: 1}", "-", "NaN"]
    rows = [f'"{k}, é.wav","{label}",train' for k, label in enumerate(labels)]
    write_text(tmp_path / "clips.csv", "\ufefffile,label,split\r\n" + "\r\n".join(rows))
    for k in range(len(labels)):
        write_sound(tmp_path / f"{k}, é.wav")
    manifest = prepare(layout.read(tmp_path, "train"), tmp_path / "out")
    assert manifest["problems"] == {}
    data = PreparedData(tmp_path / "out")
    assert data.vocabulary.names == tuple(sorted(labels))
    assert list(data.ids) == [f"{k}, é" for k in range(len(labels))]


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    rows = "".join(f"{k}.wav,{k % 12},train\n" for k in range(12))
    write_clips(tmp_path, "file,target,split\n" + rows)
    names = layout.read(tmp_path, "train").vocabulary.names
    assert names == tuple(map(str, range(12)))


def test_labels_of_audioset_get_its_mids(tmp_path):
    write_clips(tmp_path, TABLE.replace("zebra", "Dog").replace('"ant, small"', "Bark"))
    assert layout.read(tmp_path, "train").vocabulary.mids == (None,) * 3
    write_clips(tmp_path, "file,label,split\na,Dog,train\nc,/m/05tny_,train\n")
    found = layout.read(tmp_path, "train").vocabulary
    assert found.names == ("Bark", "Dog")
    assert len(found.common_with(vocab.load("audioset_527"))[0]) == 2


def test_labels_that_are_almost_the_same_are_refused(tmp_path):
    write_clips(tmp_path, "file,label,split\na,ant,train\nb,Ant ,train\nc,x,test\n")
    expected = r"clips\.csv in .*: 'ant' \(line 2\) and 'Ant' \(line 3\) differ in case"
    with pytest.raises(InputError, match=expected):
        layout.read(tmp_path, "train")
    mine = Vocabulary("mine", ("ant", "x"))
    assert layout.read(tmp_path, "train", mine).vocabulary is mine


def test_a_given_vocabulary(tmp_path):
    root = write_clips(tmp_path / "source")
    mine = Vocabulary("mine", ("zebra", "lion"))
    manifest = prepare(layout.read(root, "train", mine), tmp_path / "out")
    assert manifest["problems"] == {"no_events": 1, "unknown_label": 1}


def test_clips_that_would_have_the_same_id(tmp_path):
    write_clips(tmp_path, "file,label,split\na/b-c,x,train\na-b/c,x,train\n")
    with pytest.raises(InputError, match="a-b/c and a/b-c would both be called a-b-c"):
        layout.read(tmp_path, "train")


def test_nothing_there(tmp_path):
    assert layout.available_splits(tmp_path) == []
    with pytest.raises(InputError, match=r"lacks a table .*; name it with --table"):
        layout.read(tmp_path, "train")


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """One clip of 1 s and one of 5 s, prepared; the examples are of 2 s."""
    root = tmp_path_factory.mktemp("uneven")
    write_text(root / "clips.csv", "file,label,split\na,x,train\nb,y,train\n")
    write_sound(root / "a.wav", 1.0)
    long = root / "b.wav"
    import soundfile

    soundfile.write(long, np.arange(5 * RATE, dtype=np.int16), RATE)
    prepare(layout.read(root, "train"), root / "out")
    return PreparedData(root / "out")


SHORT = {"clip_seconds": 2.0, "sample_rate": RATE, "n_frames": 50, "targets": "clip"}


def test_training_crops_long_clips_at_random_and_labels_stay(uneven):
    starts = set()
    batches = training_batches(uneven, seed=0, batch_size=2, n_batches=30, **SHORT)
    for batch in batches:
        for row, audio, n, labels in zip(
            batch["index"], batch["audio"], batch["n_samples"], batch["clip_labels"]
        ):
            assert labels.tolist() == [row == 0, row == 1]
            assert n == (RATE if row == 0 else 2 * RATE)
            assert not audio[n:].any()
            if row == 1:
                assert (np.diff(audio) == 1).all()
                starts.add(int(audio[0]))
    assert len(starts) > 15
    assert 0 <= min(starts) < 0.5 * RATE
    assert 2.5 * RATE < max(starts) <= 3 * RATE


def test_evaluation_reads_long_clips_from_their_start(uneven):
    (batch,) = evaluation_batches(uneven, batch_size=2, **SHORT)
    assert batch["audio"][1].tolist() == list(range(2 * RATE))
    assert batch["clip_labels"].tolist() == [[1, 0], [0, 1]]
