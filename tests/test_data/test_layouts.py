import unicodedata

import pytest

from jaxsed.data.layouts import audioset_strong as layout
from jaxsed.data.layouts.matching import find_audio
from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.vocab import Vocabulary

from .audioset_folder import BARK, MEOW, SILENCE, SPEECH, write_audio, write_tables

ROWS = [("abc_1000", 0.5, 1.0, SPEECH), ("abd_2000", 0.0, 2.0, BARK)]


def kinds_of(source):
    return [(problem.clip, problem.kind) for problem in source.problems]


def test_tables_as_released(tmp_path):
    write_tables(tmp_path, ROWS)
    audio = write_audio(tmp_path, "abc_1000.flac")
    source = layout.read(tmp_path, "train")
    assert (source.layout, source.split) == ("audioset_strong", "train")
    first, second = source.clips
    assert (first.id, first.audio.path, first.listed_seconds) == (
        "abc_1000",
        audio,
        10.0,
    )
    assert first.events == ((0.5, 1.0, SPEECH, 2),)
    assert second.audio is None
    assert source.problems == ()
    assert layout.available_splits(tmp_path) == ["train"]


def test_the_vocabulary_is_what_the_split_uses_by_name(tmp_path):
    write_tables(tmp_path, ROWS)
    write_tables(tmp_path, [("x_0", 0, 1, SILENCE), ("x_0", 0, 1, BARK)], "eval")
    train = layout.read(tmp_path, "train").vocabulary
    evaluation = layout.read(tmp_path, "eval").vocabulary
    assert train.names == ("Bark", "Speech")
    assert evaluation.names == ("Bark", "Silence")
    assert train.common_with(evaluation)[0].tolist() == [0]


@pytest.mark.parametrize("name", ["audioset_strong_447", "audioset_strong_eval_416"])
def test_the_released_classes_come_out_in_the_order_of_the_released_heads(
    tmp_path, name
):
    shipped = vocab.load(name)
    rows = [(f"c{i}_0", 0, 1, mid) for i, mid in enumerate(reversed(shipped.mids))]
    names = dict(zip(shipped.mids, shipped.names)) | {"/m/unused": "Aardvark"}
    write_tables(tmp_path, rows, names=names)
    assert layout.read(tmp_path, "train").vocabulary == shipped


def test_a_given_vocabulary_is_taken(tmp_path):
    write_tables(tmp_path, ROWS)
    (tmp_path / "mid_to_display_name.tsv").unlink()
    given = Vocabulary("mine", ("Speech",), (SPEECH,))
    assert layout.read(tmp_path, "train", given).vocabulary is given
    with pytest.raises(InputError, match=r"mid_to_display_name\.tsv cannot be read"):
        layout.read(tmp_path, "train")


@pytest.mark.parametrize(
    "name",
    [
        "abc_1000.wav",
        "Yabc_1000.mp3",
        "abc.opus",
        "Yabc.webm",
        "abc_1000",
        "abc_1000.WAV",
    ],
)
@pytest.mark.parametrize("folder", ["", "audio/train", "train", "deep/er/still"])
def test_audio_is_found_by_any_of_its_names(tmp_path, name, folder):
    write_tables(tmp_path, ROWS)
    path = tmp_path / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert layout.read(tmp_path, "train").clips[0].audio.path == path


def test_a_video_id_that_two_segments_share_names_neither(tmp_path):
    write_tables(tmp_path, [("abc_1000", 0, 1, BARK), ("abc_2000", 0, 1, BARK)])
    write_audio(tmp_path, "abc.flac")
    segment = write_audio(tmp_path, "abc_2000.flac")
    source = layout.read(tmp_path, "train")
    first, second = source.clips
    assert first.audio is None
    assert second.audio.path == segment


def test_splits_with_equal_ids_keep_apart(tmp_path):
    for split in layout.SPLITS:
        write_tables(tmp_path, ROWS, split)
        write_audio(tmp_path, "abc_1000.flac", split=split)
    write_audio(tmp_path, "abd.flac", split="eval")
    for split in layout.SPLITS:
        source = layout.read(tmp_path, split)
        assert source.clips[0].audio.path.parent.name == split
        assert source.problems == ()
    assert layout.read(tmp_path, "train").clips[1].audio is None
    assert layout.read(tmp_path, "eval").clips[1].audio is not None


def test_several_files_for_a_clip(tmp_path):
    write_tables(tmp_path, ROWS)
    first = write_audio(tmp_path, "abc_1000.flac")
    write_audio(tmp_path, "abc_1000.wav")
    source = layout.read(tmp_path, "train")
    assert source.clips[0].audio.path == first
    assert kinds_of(source) == [("abc_1000", "duplicate_audio")]


def test_unicode_and_spaces_in_names(tmp_path):
    clip = "mé tä 音_0"
    write_tables(tmp_path, [(unicodedata.normalize("NFC", clip), 0, 1, BARK)])
    path = write_audio(tmp_path, unicodedata.normalize("NFD", clip) + ".flac")
    assert layout.read(tmp_path, "train").clips[0].audio.path == path


def test_links_to_folders_are_followed_once(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.wav").touch()
    source = tmp_path / "source"
    source.mkdir()
    (source / "audio").symlink_to(tmp_path / "store")
    (source / "loop").symlink_to(source)
    (source / "out").mkdir()
    (source / "out" / "b.wav").touch()
    ((name, sound),) = find_audio(source, exclude=source / "out")
    assert (name, sound.path) == ("a", source / "audio" / "a.wav")


def test_crlf_bom_blank_lines_extra_columns_any_order(tmp_path):
    table = write_tables(tmp_path, ROWS)
    table.write_bytes(
        "\ufeffextra\tlabel\tsegment_id\tend_time_seconds\tstart_time_seconds\r\n"
        f"x\t{SPEECH}\tabc_1000\t1.0\t0.5\r\n\r\n"
        f"x\t{BARK}\tabd_2000\t2.0\t0.0\r\n".encode()
    )
    source = layout.read(tmp_path, "train")
    assert [clip.events[0][:3] for clip in source.clips] == [row[1:] for row in ROWS]
    assert source.clips[1].events[0].line == 4
    assert source.problems == ()


@pytest.mark.parametrize("column", ["segment_id", "start_time_seconds", "label"])
def test_a_missing_column_is_named_with_those_found(tmp_path, column):
    table = write_tables(tmp_path, ROWS)
    text = table.read_text()
    table.write_text(text.replace(column, "other"))
    with pytest.raises(InputError, match=f"no column '{column}'; found .*other"):
        layout.read(tmp_path, "train")


def test_an_empty_table(tmp_path):
    write_tables(tmp_path, ROWS).write_text("")
    with pytest.raises(InputError, match="no column 'segment_id'; found nothing"):
        layout.read(tmp_path, "train")


def test_a_table_in_another_encoding(tmp_path):
    table = write_tables(tmp_path, ROWS)
    table.write_bytes(table.read_bytes() + b"caf\xe9\t0\t1\t/m/x\n")
    with pytest.raises(InputError, match="not UTF-8"):
        layout.read(tmp_path, "train")


def test_lines_that_cannot_be_read_are_named(tmp_path):
    write_tables(tmp_path, [*ROWS, ("abc_1000", "soon", 1, BARK), ("abe_0", 1), ("", 0, 1, BARK), ("abc_1000", 0, "inf", BARK)])  # fmt: skip
    source = layout.read(tmp_path, "train")
    assert [problem.kind for problem in source.problems] == ["unreadable_line"] * 4
    assert "line 4: times 'soon', '1' not numbers" in source.problems[0].detail
    assert "line 5" in source.problems[1].detail
    assert [len(clip.events) for clip in source.clips] == [1, 1]


def test_labels_without_a_name(tmp_path):
    write_tables(tmp_path, [*ROWS, ("abc_1000", 0, 1, "/m/nameless")])
    assert layout.read(tmp_path, "train").vocabulary.names == ("Bark", "Speech")
    write_tables(tmp_path, [("abc_1000", 0, 1, "/m/nameless")])
    with pytest.raises(InputError, match="names none of the 1 labels"):
        layout.read(tmp_path, "train")


def test_listed_durations(tmp_path):
    write_tables(tmp_path, ROWS)
    durations = tmp_path / "audioset_train_durations.tsv"
    durations.write_text("filename\tduration\nabc_1000.wav\t7.25\nabd_2000\tlong\n")
    source = layout.read(tmp_path, "train")
    assert [clip.listed_seconds for clip in source.clips] == [7.25, 10.0]
    assert kinds_of(source) == [("abd_2000", "unreadable_line")]
    durations.unlink()
    (tmp_path / "train_durations.csv").write_text("filename,duration\nabd_2000,3\n")
    source = layout.read(tmp_path, "train")
    assert [clip.listed_seconds for clip in source.clips] == [10.0, 3.0]


def test_a_missing_table(tmp_path):
    with pytest.raises(InputError, match=r"audioset_eval_strong\.tsv not found"):
        layout.read(tmp_path, "eval")


def test_a_name_table_without_tabs(tmp_path):
    write_tables(tmp_path, [("a_0", 0, 1, MEOW)])
    (tmp_path / "mid_to_display_name.tsv").write_text("/m/07qrkrw Meow\n")
    with pytest.raises(InputError, match="line 1: expected two columns"):
        layout.read(tmp_path, "train")
