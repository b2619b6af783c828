import argparse
import json
import shutil

import pytest

from jaxsed.data import prepare_command
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError

from . import clip_folders, packs
from .audioset_folder import BARK, SPEECH, write_audio, write_folder, write_tables


def run(*arguments):
    parser = argparse.ArgumentParser()
    prepare_command.configure(parser)
    return prepare_command.run(parser.parse_args([str(word) for word in arguments]))


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "my source"
    write_folder(root, n_clips=3)
    return write_folder(root, n_clips=2, split="eval")


def test_all_splits_nothing_wrong(source, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("audioset_strong", source, "--out", out, "--workers", 1) == 0
    assert len(PreparedData(out / "train")) == 3
    assert len(PreparedData(out / "eval")) == 2
    printed = capsys.readouterr().out
    assert f"{out / 'train'}: 3 of 3 clips, 0.01 h, 6 events in 3 of 3 cl" in printed
    assert "problems.tsv" not in printed


def test_the_data_set_is_no_place_for_the_output(source):
    with pytest.raises(InputError, match="is the data set itself; give another folder"):
        run("audioset_strong", source, "--out", source / "audio" / "..")


def test_something_wrong(source, tmp_path, capsys):
    (source / "audio" / "train" / "clip001_1000.flac").unlink()
    assert (
        run("audioset_strong", source, "--out", tmp_path / "out", "--workers", 1) == 3
    )
    printed = capsys.readouterr().out
    assert "1 missing          no sound" in printed
    assert str(tmp_path / "out" / "train" / "problems.tsv") in printed


def test_one_split_inside_the_source(source):
    out = source / "prepared"
    arguments = ("audioset_strong", source, "--out", out, "--splits", "eval")
    assert run(*arguments, "--workers", 2, "--shards", 2) == 0
    assert run(*arguments, "--shards", 2) == 0
    assert not (out / "train").exists()
    assert len(PreparedData(out / "eval").manifest["shards"]) == 2


def test_a_copy_of_one_split_only(source, tmp_path, capsys):
    shutil.rmtree(source / "audio" / "eval")
    arguments = ("audioset_strong", source, "--out", tmp_path / "out", "--workers", 1)
    assert run(*arguments) == 3
    assert len(PreparedData(tmp_path / "out" / "train")) == 3
    assert (
        "eval: left out, none of its clips has a sound; looked for "
        in capsys.readouterr().out
    )
    with pytest.raises(InputError, match="no sound found for any of the 2 eval"):
        run(*arguments, "--splits", "train,eval")
    shutil.rmtree(source / "audio" / "train")
    with pytest.raises(InputError, match="no sound found for any of the 3 train"):
        run(*arguments)


def test_a_given_vocabulary(source, tmp_path):
    classes = tmp_path / "classes.json"
    classes.write_text(
        json.dumps({"name": "mine", "classes": [{"mid": SPEECH, "name": "Speech"}]})
    )
    arguments = ("audioset_strong", source, "--out", tmp_path / "out", "--workers", 1)
    assert run(*arguments, "--vocabulary", classes) == 3
    data = PreparedData(tmp_path / "out" / "train")
    assert data.vocabulary.name == "mine"
    assert data.manifest["problems"] == {"unknown_label": 3}
    shipped = ("audioset_strong", source, "--out", tmp_path / "out2", "--workers", 1)
    assert run(*shipped, "--vocabulary", "audioset_strong_447") == 0
    assert len(PreparedData(tmp_path / "out2" / "eval").vocabulary) == 447


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (
            ["--splits", "train,test"],
            "--splits 'train,test'; expected some of train,eval",
        ),
        (["--splits", ","], "--splits ','"),
        (["--vocabulary", "audioset_strong"], "did you mean 'audioset_strong_447'"),
        (["--workers", "0"], "must be 1 or more"),
    ],
)
def test_wrong_options(source, tmp_path, options, cause):
    with pytest.raises(InputError, match=cause):
        run("audioset_strong", source, "--out", tmp_path / "out", *options)


def test_nothing_to_do(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        run("audioset_strong", tmp_path / "nowhere", "--out", tmp_path / "out")
    with pytest.raises(
        InputError, match="of layout audioset_strong; expected audioset_tr"
    ):
        run("audioset_strong", tmp_path, "--out", tmp_path / "out")
    write_tables(tmp_path, [("x_0", 0, 1, BARK)])
    with pytest.raises(InputError, match=r"audioset_eval_strong\.tsv not found"):
        run("audioset_strong", tmp_path, "--out", tmp_path / "o", "--splits", "eval")


def test_a_broken_second_split_is_told_before_the_first_is_written(source, tmp_path):
    (source / "audioset_eval_strong.tsv").write_text("nothing\n")
    with pytest.raises(InputError, match="no column 'segment_id'"):
        run("audioset_strong", source, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_bad_file_does_not_stop_the_rest(source, tmp_path):
    write_audio(source, "clip000_0000.flac").write_bytes(b"not flac")
    assert (
        run("audioset_strong", source, "--out", tmp_path / "out", "--workers", 2) == 3
    )
    data = PreparedData(tmp_path / "out" / "train")
    assert data.ids.tolist() == ["clip001_1000", "clip002_2000"]


def write_every_layout(root):
    """One folder that all layouts can read."""
    packs.write_strong(root)
    packs.write_segments(root)
    packs.write_files(root)
    packs.write_pack(root)
    packs.write_parquet(root, packs.clip_columns())


@pytest.mark.parametrize(
    ("layout", "option", "annotation"),
    [
        ("audioset_strong", (), "frames"),
        ("audioset_weak", (), "clips"),
        ("audioset_hdf5", (), "frames"),
        ("audioset_hdf5", ("--annotation", "clips"), "clips"),
        ("huggingface_parquet", (), "clips"),
    ],
)
def test_every_layout(tmp_path, capsys, layout, option, annotation):
    write_every_layout(tmp_path / "source")
    out = tmp_path / "out"
    # Packs are opened in the process that reads: there are two.
    n_shards = 2 if layout in ("audioset_hdf5", "huggingface_parquet") else 1
    option += ("--workers", 2, "--shards", n_shards)
    assert run(layout, tmp_path / "source", "--out", out, *option) == 0
    data = PreparedData(out / "train")
    assert (data.manifest["layout"], data.manifest["annotation"]) == (
        layout,
        annotation,
    )
    assert sorted(map(data.audio_bytes, range(4))) == sorted(packs.SOUNDS)
    labels = "events" if annotation == "frames" else "labels of clips"
    of = 3 if annotation == "frames" else 527
    expected = f"4 of 4 clips, 0.01 h, 6 {labels} in 3 of {of} classes"
    assert expected in capsys.readouterr().out


def test_the_help_names_every_layout():
    for layout in prepare_command.LAYOUTS:
        assert f"\n  {layout} " in prepare_command.__doc__


def test_only_annotation_that_a_layout_has(tmp_path):
    packs.write_segments(tmp_path)
    arguments = ("audioset_weak", tmp_path, "--out", tmp_path / "out")
    with pytest.raises(
        InputError, match="--annotation frames: audioset_weak has clips"
    ):
        run(*arguments, "--annotation", "frames")


def test_the_parts_of_a_split(tmp_path):
    packs.write_segments(tmp_path, "balanced_train", packs.CLIPS[:1])
    packs.write_segments(tmp_path, "unbalanced_train", packs.CLIPS[1:])
    packs.write_files(tmp_path)
    arguments = ("audioset_weak", tmp_path, "--out", tmp_path / "out", "--workers", 1)
    assert run(*arguments, "--splits", "balanced_train") == 0
    assert (
        list(PreparedData(tmp_path / "out" / "balanced_train").ids) == packs.VIDEOS[:1]
    )
    with pytest.raises(InputError, match="expected some of train,eval,balanced_train,"):
        run(*arguments, "--splits", "test")


def test_classes_that_lack_clips_are_named(tmp_path, capsys):
    packs.write_segments(tmp_path)
    packs.write_files(tmp_path)
    (tmp_path / "audio" / f"Y{packs.VIDEOS[0]}.mp3").unlink()
    (tmp_path / "audio" / f"Y{packs.VIDEOS[2]}.mp3").unlink()
    arguments = ("audioset_weak", tmp_path, "--out", tmp_path / "out", "--workers", 1)
    assert run(*arguments) == 3
    printed = capsys.readouterr().out
    assert "2 of 4 clips" in printed
    named = "2 not used         2 classes lack clips, most: Speech 2 of 2, Dog 1 of 2\n"
    assert named in printed
    assert "2 missing          no sound, or not readable: clip left out" in printed


def test_hosts(source, tmp_path, capsys, monkeypatch):
    arguments = ("audioset_strong", source, "--out", tmp_path / "out", "--workers", 1)
    arguments += ("--shards", 2)
    assert run(*arguments, "--host", "0/2") == 0
    printed = capsys.readouterr().out
    assert "train: the shards of host 0/2 are written; the last host to" in printed
    with pytest.raises(InputError, match="unfinished"):
        PreparedData(tmp_path / "out" / "train")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert run(*arguments) == 0
    assert "3 of 3 clips" in capsys.readouterr().out
    assert len(PreparedData(tmp_path / "out" / "eval")) == 2
    with pytest.raises(InputError, match="host '2/2'; expected I/N"):
        run(*arguments, "--host", "2/2")


def test_splits_of_clips_with_one_label(tmp_path, capsys):
    source = clip_folders.write_voxceleb1(tmp_path / "source")
    out = tmp_path / "out"
    assert run("voxceleb1", source, "--out", out, "--workers", 1) == 0
    assert "3 of 3 clips, 0.00 h, 3 labels of clips, one a clip, in 2 of 3 cl" in (
        capsys.readouterr().out
    )
    names = ("train", "validation", "eval")
    assert [len(PreparedData(out / split)) for split in names] == [3, 1, 1]
    assert {PreparedData(out / split).labels for split in names} == {"single"}


def test_a_table_of_ones_own(tmp_path):
    source = tmp_path / "source"
    rows = "".join(f"{k}.wav,{k % 2},{k % 3}\n" for k in range(6))
    clip_folders.write_text(source / "tables" / "t.csv", "name,part,kind\n" + rows)
    for k in range(6):
        clip_folders.write_sound(source / f"{k}.wav")
    arguments = ("clips", source, "--out", tmp_path / "out", "--workers", 1)
    with pytest.raises(
        InputError,
        match=r"nothing of layout clips; expected a table \(\.csv or \.tsv\) of",
    ):
        run(*arguments)
    arguments += ("--table", "tables/t.csv")
    with pytest.raises(
        InputError, match=r"no column of files .*choose one with --file"
    ):
        run(*arguments)
    arguments += ("--file-column", "name", "--label-column", "kind")
    arguments += ("--split-column", "part", "--eval-folds", "1")
    assert run(*arguments) == 0
    assert list(PreparedData(tmp_path / "out" / "eval").ids) == ["1", "3", "5"]
    # Whether classes exclude each other cannot change under a folder.
    with pytest.raises(InputError, match=r"another source \(differs in labels\)"):
        run(*arguments, "--labels", "multi")


def test_a_folder_of_films_is_refused_before_anything_is_written(tmp_path):
    source = clip_folders.write_vggsound(tmp_path / "source")
    for sound in (source / "audio").iterdir():
        sound.with_suffix(".mp4").write_bytes(b"\0\0\0\x18ftypmp42")
        sound.unlink()
    with pytest.raises(InputError, match=r"are films or AAC, such as .*ffmpeg"):
        run("vggsound", source, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
