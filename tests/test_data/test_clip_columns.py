import pytest

from jaxsed.data.layouts.clip_columns import (
    TableOptions,
    find_columns,
    labels_in,
    separator_of,
)
from jaxsed.errors import InputError


def columns(header, **options):
    return find_columns("t.csv", header.split(","), TableOptions(**options))


@pytest.mark.parametrize(
    ("header", "found"),
    [  # as released
        ("filename,fold,target,category,esc10,src_file,take", ("filename", "category", "fold")),
        ("slice_file_name,fsID,start,end,salience,fold,classID,class",
         ("slice_file_name", "class", "fold")),
        ("fname,labels,mids,split", ("fname", "labels", "split")),
        ("fname,labels,mids", ("fname", "labels", None)),
        ("Label,File Name,Sub set", ("File Name", "Label", None)),
        ("ID,Tags,Subset", ("ID", "Tags", "Subset")),
    ],
)  # fmt: skip
def test_what_columns_are_usually_called(header, found):
    assert tuple(columns(header)) == found


def test_columns_by_name():
    found = columns("a,b,Split,My Fold", file_column="B", label_column="a")
    assert found == ("b", "a", "Split")
    found = columns(
        "a,b,Split,My Fold", file_column="b", label_column="a", split_column="my fold"
    )
    assert found.split == "My Fold"


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ("files,label", {},
         r"t\.csv: no column of files \(filename, .*\); did you mean 'files'\? found "
         "files, label; choose one with --file-column"),
        ("file,lable", {}, "no column of labels .*did you mean 'lable'.*--label-column"),
        ("file,label", {"split_column": "part"},
         "no column 'part'; found file, label; choose one with --split-column"),
        ("file,labels", {"label_column": "labls"},
         "no column 'labls'; did you mean 'labels'"),
    ],
)  # fmt: skip
def test_a_column_that_is_not_there(header, options, message):
    with pytest.raises(InputError, match=message):
        columns(header, **options)


def test_an_empty_table():
    with pytest.raises(
        InputError, match=r"t\.csv is empty; expected a line that names"
    ):
        find_columns("t.csv", [], TableOptions())


def test_a_plural_holds_several():
    assert columns("file,Labels").has_lists
    assert not columns("file,label").has_lists
    assert columns("file,my tags,tags", label_column="tags").has_lists


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["a,b", "c"], ","),
        (["a, with comma|b", "c"], "|"),
        (["a|b;c", "d,e"], ";"),
        (["a"], ","),
    ],
)
def test_what_separates_labels(cells, separator):
    assert separator_of(iter(cells)) == separator


@pytest.mark.parametrize(
    ("cell", "separator", "labels"),
    [
        ("a, b", None, ["a, b"]),
        ("a; b;;", ";", ["a", "b"]),
        ("", None, []),
        ("", ",", []),
        ("['a', \"b\"]", ",", ["a", "b"]),
        ("[]", ",", []),
        ("police car (siren) + cafe\u0301", "+", ["police car (siren)", "caf\u00e9"]),
    ],
)
def test_labels_of_a_cell(cell, separator, labels):
    assert labels_in(cell, separator) == labels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_share": 0.0}, "--eval-share 0; expected a share between 0 and 1"),
        ({"eval_share": 20.0}, "--eval-share 20; expected"),
        ({"label_separator": ""}, "--label-separator is empty"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        TableOptions(**options)
