import pytest

from jaxsed.data.layouts.clip_columns import TableOptions
from jaxsed.data.layouts.clip_tables import ClipRows, tables_of
from jaxsed.errors import InputError

from .clip_folders import write_text

FOLDS = "filename,fold,category\n" + "".join(
    f"{k}-{fold}.wav,{fold},class {k}\n" for fold in (1, 2, 3) for k in (0, 1)
)


@pytest.fixture
def read(tmp_path):
    def read(text, name="t.csv", **options):
        return ClipRows([write_text(tmp_path / name, text)], TableOptions(**options))

    return read


def splits_of(rows):
    return {row.path: row.split for row in rows.rows}


def test_one_label(read):
    found = read('file,label\na.wav,"x, y"\nsub/b.wav,z\n')
    assert found.labels == "single"
    assert {(row.path, row.labels, row.line) for row in found.rows} == {
        ("a", ("x, y",), 2),
        ("sub/b", ("z",), 3),
    }


@pytest.mark.parametrize(
    ("text", "options", "labels", "kind"),
    [
        ("file,labels\na,x;y\nb,z\n", {}, ["x", "y"], "multi"),
        ("file;tags\na;x,y\nb;z\n", {}, ["x", "y"], "multi"),
        ("file,label\na,x+y\nb,z\n", {"label_separator": "+"}, ["x", "y"], "multi"),
        ("file,labels\na,x;y\nb,z\n", {"label_separator": "none"}, ["x;y"], "single"),
        ("file,label\na,x\nb,y\n", {"labels": "multi"}, ["x"], "multi"),
        ("file,labels\na,x\nb,y\n", {"labels": "single"}, ["x"], "single"),
    ],
)
def test_one_label_or_several(read, text, options, labels, kind):
    found = read(text, **options)
    assert list(found.rows[0].labels) == labels
    assert found.labels == kind


def test_splits_by_a_column(read):
    found = read("file,label,split\na,x,Train\nb,x,val\nc,y,TEST\nd,y,holdout\ne,y,\n")
    assert splits_of(found) == {"a": "train", "b": "validation", "c": "eval"}
    assert [(kind, line) for kind, _, line, _ in found.rejected] == [
        ("unknown_split", 5),
        ("unknown_split", 6),
    ]
    assert "'holdout' is neither train, validation nor test" in found.rejected[0].what


def test_folds(read):
    found = splits_of(read(FOLDS, eval_folds=("3", "1")))
    assert [clip for clip, split in found.items() if split == "train"] == ["0-2", "1-2"]
    with pytest.raises(InputError, match=r"splits '1', '2', '3' are .*--eval-folds 3"):
        read(FOLDS)
    with pytest.raises(InputError, match="no fold '4'; found '1', '2', '3'"):
        read(FOLDS, eval_folds=("1", "4"))
    with pytest.raises(
        InputError, match="no column of folds; name it with --split-col"
    ):
        read("file,label\na,x\nb,y\n", eval_folds=("1",))


def test_splits_by_the_names_of_tables(tmp_path):
    train = write_text(tmp_path / "train_01.csv", "file,label\na,x\n")
    test = write_text(tmp_path / "test.tsv", "file\tlabel\nb\ty\n")
    dev = write_text(tmp_path / "dev.csv", "file,label,split\nc,x,val\nd,y,train\n")
    found = ClipRows([train, test, dev], TableOptions())
    assert splits_of(found) == {
        "a": "train",
        "b": "eval",
        "c": "validation",
        "d": "train",
    }


def test_chance_splits_by_file_and_a_file_stays_whole(read):
    text = "file,labels\n" + "".join(f"{k // 2}.wav,x{k % 3}\n" for k in range(80))
    found = read(text, eval_share=0.25, seed=1)
    evaluated = {row.path for row in found.rows if row.split == "eval"}
    assert len(evaluated) == 10
    assert not evaluated & {row.path for row in found.rows if row.split == "train"}
    assert splits_of(read(text, eval_share=0.25, seed=1)) == splits_of(found)
    assert splits_of(read(text, eval_share=0.25, seed=2)) != splits_of(found)
    by_default = [row.path for row in read(text).rows if row.split == "eval"]
    assert len(set(by_default)) == 4
    with pytest.raises(
        InputError, match=r"--eval-share 0\.5: .*t\.csv says itself what"
    ):
        read("file,label,split\na,x,train\n", eval_share=0.5)


def test_lines_that_cannot_be_read(read):
    found = read('\ufefffile,label\r\n"a.wav",x\r\n\r\n,x\r\nb\r\n./,y\r\nc,x')
    assert sorted(row.path for row in found.rows) == ["a", "c"]
    assert [(kind, line, what) for kind, _, line, what in found.rejected] == [
        ("unreadable_line", 4, "no file"),
        ("unreadable_line", 5, "too few values"),
        ("unreadable_line", 6, "no file"),
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_table(read, text):
    with pytest.raises(
        InputError, match="is empty; expected a line that names the col"
    ):
        read(text)


def test_a_header_alone(read):
    with pytest.raises(InputError, match="no line under file, label has a file"):
        read("file,label,x\n")


def test_where_tables_are_looked_for(tmp_path):
    assert tables_of(tmp_path, TableOptions()) == []
    deep = write_text(tmp_path / "meta" / "esc50.csv", FOLDS)
    assert tables_of(tmp_path, TableOptions()) == [deep]
    alone = write_text(tmp_path / "mine.TSV", FOLDS)
    write_text(tmp_path / "notes.txt", "")
    write_text(tmp_path / "._esc50.csv", "")  # by macOS, on disks of others
    assert tables_of(tmp_path, TableOptions()) == [alone]
    train = write_text(tmp_path / "train.csv", FOLDS)
    assert tables_of(tmp_path, TableOptions()) == [train]
    test = write_text(tmp_path / "test.csv", FOLDS)
    assert tables_of(tmp_path, TableOptions()) == [test, train]
    named = TableOptions(tables=("meta/esc50.csv", "train.csv"))
    assert tables_of(tmp_path, named) == [deep, train]


def test_tables_that_are_not_clear(tmp_path):
    for name in ("a.csv", "b.csv"):
        write_text(tmp_path / name, FOLDS)
    with pytest.raises(
        InputError, match=r"several tables: a\.csv, b\.csv; choose with"
    ):
        tables_of(tmp_path, TableOptions())
    with pytest.raises(InputError, match=r"c\.csv not found; --table is relative to"):
        tables_of(tmp_path, TableOptions(tables=("c.csv",)))
