import shutil

import pytest

from jaxsed.data.layouts import voxceleb1 as layout
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError

from .clip_folders import UTTERANCES, write_sound, write_text, write_voxceleb1

SPEAKERS = ("id10001", "id10002", "id10270")


@pytest.mark.parametrize("folder", ["", "wav", "vox1_dev_wav/wav"])
def test_the_list_as_released(tmp_path, folder):
    write_voxceleb1(tmp_path, folder)
    assert layout.available_splits(tmp_path) == ["train", "validation", "eval"]
    for split, code in zip(layout.SPLITS, "123"):
        source = layout.read(tmp_path, split)
        paths = [path for number, path in UTTERANCES if number == code]
        assert [clip.id for clip in source.clips] == [
            p.replace("/", "-") for p in paths
        ]
        for clip, path in zip(source.clips, paths):
            assert clip.audio.name.endswith(f"{path}.wav")
            assert [event.label for event in clip.events] == [path[:7]]
        assert source.vocabulary.names == SPEAKERS
        assert (source.labels, source.problems) == ("single", ())


def test_archives_for_verification_are_no_splits(tmp_path):
    """`dev` and `test` there are of speakers; the list says which split is meant."""
    write_voxceleb1(tmp_path, "dev/wav")
    (tmp_path / "test" / "wav").mkdir(parents=True)
    shutil.move(tmp_path / "dev/wav/id10002", tmp_path / "test/wav")
    for split in layout.SPLITS:
        assert all(clip.audio for clip in layout.read(tmp_path, split).clips)


def test_utterances_of_any_length_are_taken(tmp_path):
    root = write_voxceleb1(tmp_path / "source")
    long = write_sound(root / "wav" / f"{UTTERANCES[0][1]}.wav", 31.0)
    manifest = prepare(layout.read(root, "train"), tmp_path / "out")
    assert manifest["problems"] == {}
    data = PreparedData(tmp_path / "out")
    assert data.durations.tolist() == pytest.approx([31.0, 0.2, 0.3])
    assert data.audio_bytes(0) == long.read_bytes()
    assert data.events(0) == [(0.0, 31.0, 0)]


def test_what_is_missing_or_m4a_is_counted(tmp_path):
    root = write_voxceleb1(tmp_path / "source")
    paths = [root / "wav" / path for _, path in UTTERANCES]
    paths[0].with_suffix(".wav").unlink()
    m4a = b"\0\0\0\x1cftypM4A \0\0\x02\0" + bytes(64)
    paths[1].with_suffix(".wav").unlink()
    paths[1].with_suffix(".m4a").write_bytes(m4a)
    paths[2].with_suffix(".m4a").write_bytes(m4a)  # beside the sound: not looked at
    manifest = prepare(layout.read(root, "train"), tmp_path / "out")
    assert manifest["problems"] == {"missing": 1, "undecodable": 1}
    missing = {c["name"]: c["missing"] for c in manifest["classes"]}
    assert missing == dict(zip(SPEAKERS, (1, 1, 0)))


def test_broken_lines(tmp_path):
    root = write_voxceleb1(tmp_path)
    with open(root / "iden_split.txt", "a", encoding="utf-8") as file:
        file.write("4 id10001/x/00001.wav\r\n\r\n")
        file.write("id10001/x/00001.wav\n1 00001.wav\n1 id10001\\y\\00007.wav\n")
    source = layout.read(root, "train")
    assert [(p.kind, p.detail.split(":")[0]) for p in source.problems] == [
        ("unknown_split", "iden_split.txt, line 6"),
        ("unreadable_line", "iden_split.txt, line 8"),
        ("unreadable_line", "iden_split.txt, line 9"),
    ]
    assert "id10001-y-00007" in [clip.id for clip in source.clips]


def test_no_list_and_no_line(tmp_path):
    assert layout.available_splits(tmp_path) == []
    with pytest.raises(InputError, match=r"no iden_split\.txt in "):
        layout.read(tmp_path, "train")
    write_text(tmp_path / "meta" / "iden_split.txt", "2 id10001/x/00001.wav\n")
    assert layout.available_splits(tmp_path) == ["validation"]
    with pytest.raises(InputError, match="no line of train can be read as 1, 2 or 3"):
        layout.read(tmp_path, "train")
    write_text(tmp_path / "iden_split.txt", "id10001/x/00001.wav 2\n")
    assert "train" in layout.available_splits(tmp_path)  # to be told why not
