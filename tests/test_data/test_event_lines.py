import pytest

from jaxsed.data.layouts.event_columns import EventOptions
from jaxsed.data.layouts.event_lines import (
    find_label_files,
    lines_of_audacity,
    lines_of_raven,
    lines_of_table,
)
from jaxsed.data.layouts.raven_files import RavenFiles
from jaxsed.errors import InputError

from .clip_folders import write_text

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tAnnotation\n"


_DEFAULTS = EventOptions()


def said(lines):
    return [(*line.times, line.label) for line in lines if not line.wrong]


def wrong(lines):
    return [(line.number, line.wrong) for line in lines if line.wrong]


def test_a_table(tmp_path):
    text = (
        "File;Start (s);End (s);Label;Split\nx/a.wav;0,5;1,5;Dog;train\nb.wav;;;;test\n"
    )
    table = write_text(tmp_path / "t.csv", text + ";1;2;Dog;\nc.wav;1\n")
    lines, has_splits = lines_of_table(table, EventOptions())
    assert has_splits
    first, second = lines[:2]
    assert (first.path, first.times, first.label) == ("x/a", ("0,5", "1,5"), "Dog")
    assert (first.file, first.number, first.split) == ("t.csv", 2, "train")
    assert (second.times, second.label, second.wrong) == (("", ""), "", "")
    assert wrong(lines) == [(4, "no file"), (5, "too few values")]
    with pytest.raises(InputError, match=r"no line under .* has a file"):
        lines_of_table(
            write_text(table, "file,onset,offset,label\n,1,2,x\n"), EventOptions()
        )


def test_label_files_and_their_recordings(tmp_path):
    for name in (
        "a.txt",
        "a.Table.1.selections.txt",
        "sub/a.Table.2.selections.txt",
        "b.selections.txt",
        "c.BirdNET.selection.table.txt",
        "d.wav.TXT",
        "e.csv",
        "out/f.txt",
        "trial/a.wav.audacity.txt",
        "trial/a.wav.raven.txt",
    ):
        write_text(tmp_path / name, "")
    audacity = find_label_files(tmp_path, tmp_path / "out", "audacity")
    assert audacity == [("a", tmp_path / "a.txt"), ("d", tmp_path / "d.wav.TXT")]
    raven = find_label_files(tmp_path, tmp_path / "out", "raven")
    assert [path for path, _ in raven] == ["a", "b", "c", "sub/a"]


def test_a_label_track(tmp_path):
    text = "0.5\t1.25\tDog\n\\\t100.0\t2000.0\n2,0\t2,5\tcat with blanks \nx\t1\tDog\n3.0\n"
    file = write_text(tmp_path / "a.txt", text + "4\t5\t\n")
    lines = lines_of_audacity("a", file, True)
    assert said(lines[:2]) == [
        ("0.5", "1.25", "Dog"),
        ("2,0", "2,5", "cat with blanks"),
    ]
    assert [line.number for line in lines] == [1, 3, 4, 5, 6]
    assert wrong(lines) == [(5, "expected onset, offset and label, separated by TAB")]
    assert lines_of_audacity("a", file, False) == lines


def test_labels_of_detections_lose_their_scores(tmp_path):
    labels = ["Dog (0.93)", "Dog (1.00)", "Dog (2.00)", "Dog (young)", "(0.93)"]
    text = "".join(f"1\t2\t{label}\n" for label in labels)
    lines = lines_of_audacity("a", write_text(tmp_path / "a.txt", text), True)
    assert [line.label for line in lines] == ["Dog", "Dog", *labels[2:]]


def test_label_tracks_without_labels(tmp_path):
    empty = write_text(tmp_path / "a.txt", "")
    (line,) = lines_of_audacity("a", empty, True)
    assert (line.path, *said([line])) == ("a", ("", "", ""))
    assert lines_of_audacity("a", empty, False) == []
    readme = write_text(tmp_path / "readme.txt", "These are recordings\n1\t2\tDog\n")
    assert lines_of_audacity("readme", readme, False) == []
    assert len(lines_of_audacity("readme", readme, True)) == 2
    wide = write_text(tmp_path / "b.txt", "1\t2\tDog\n".encode("utf-16"))
    ((number, what),) = wrong(lines_of_audacity("b", wide, True))
    assert number == 0 and "is not UTF-8" in what
    assert lines_of_audacity("b", wide, False) == []


def test_a_selection_table(tmp_path):
    rows = "1\tWaveform 1\t1\t0.5\t1.0\t0\tDog\n1\tSpectrogram 1\t1\t0.5\t1.0\t9\tDog\n"
    rows += "2\tSpectrogram 1\t1\t2.0\t3.0\t9\tCat\n3\n"
    lines = lines_of_raven(
        "a", write_text(tmp_path / "t.txt", RAVEN + rows), _DEFAULTS, RavenFiles({"a"})
    )
    assert said(lines) == [("0.5", "1.0", "Dog"), ("2.0", "3.0", "Cat")]
    assert wrong(lines) == [(5, "too few values")]
    unnumbered = "Begin Time (s)\tEnd Time (s)\tSpecies\n1\t2\tDog\n1\t2\tDog\n"
    lines = lines_of_raven(
        "a", write_text(tmp_path / "t.txt", unnumbered), _DEFAULTS, RavenFiles({"a"})
    )
    assert said(lines) == [("1", "2", "Dog")] * 2


def test_selection_tables_that_are_empty_or_broken(tmp_path):
    file = write_text(tmp_path / "t.txt", RAVEN)
    assert said(lines_of_raven("a", file, _DEFAULTS, RavenFiles({"a"}))) == [
        ("", "", "")
    ]
    write_text(file, "")
    assert wrong(lines_of_raven("a", file, _DEFAULTS, RavenFiles({"a"}))) == [
        (0, "is empty; expected a header")
    ]
    write_text(file, RAVEN.encode() + b"1\tv\t1\t0\t1\t0\tDog\n\xff\n")
    lines = lines_of_raven("a", file, _DEFAULTS, RavenFiles({"a"}))
    assert "is not UTF-8" in lines[-1].wrong
    write_text(file, RAVEN.replace("Annotation", "Call"))
    with pytest.raises(InputError, match=r"no column of labels .*--label-column"):
        lines_of_raven("a", file, _DEFAULTS, RavenFiles({"a"}))
    assert lines_of_raven(
        "a", file, EventOptions(label_column="call"), RavenFiles({"a"})
    )


SEQUENCE = (
    "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tSpecies\n"
)


def test_a_selection_table_of_several_recordings(tmp_path):
    rows = "1\t0.5\t1.5\ta.wav\t0.5\tDog\n1\t0.5\t1.5\ta.wav\t0.5\tDog\n"
    rows += "2\t12,25\t13,5\tb.wav\t2,25\tCat\n3\t20\t21\t\t1\tDog\n4\n"
    rows += "5\t30\t31\tgone.wav\t0\tDog\n"
    file = write_text(tmp_path / "t.txt", SEQUENCE + rows)
    # Raven calls it as the first of the files, or as the person likes.
    files = RavenFiles({"x/a", "x/b", "y/b"})
    for path in ("x/a", "x/project"):
        lines = lines_of_raven(path, file, _DEFAULTS, files)
        assert [line.path for line in lines] == ["x/a", "x/b", "", "", "gone"]
        assert said(lines) == [
            ("0.500000", "1.500000", "Dog"),
            ("2.250000", "3.500000", "Cat"),
            ("0.000000", "1.000000", "Dog"),
        ]
        assert wrong(lines) == [
            (5, "no begin file or file offset (s); the table is of several files"),
            (6, "too few values"),
        ]


def test_a_selection_table_whose_recording_was_renamed(tmp_path):
    rows = "1\t0.5\t1.5\told.wav\t0.5\tDog\n"
    file = write_text(tmp_path / "t.txt", SEQUENCE + rows)
    (line,) = lines_of_raven("a", file, _DEFAULTS, RavenFiles({"a"}))
    assert (line.path, line.times) == ("a", ("0.5", "1.5"))


def test_a_selection_table_that_may_be_of_several_recordings_is_named(tmp_path):
    row = "1\t0.5\t1.5\ta.wav\t0.5\tDog\n"
    file = write_text(tmp_path / "t.txt", SEQUENCE + row)
    with pytest.raises(InputError, match=r"t\.txt: a\.wav may be x/a or y/a; put"):
        lines_of_raven("project", file, _DEFAULTS, RavenFiles({"x/a", "y/a"}))
