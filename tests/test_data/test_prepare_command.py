import argparse
import json
import shutil

import pytest

from jaxsed.data import prepare_command
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError

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
    assert "eval: left out, none of its clips" in capsys.readouterr().out
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
