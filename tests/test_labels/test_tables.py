import math

import pytest

from jaxsed.errors import InputError
from jaxsed.labels.tables import (
    delimiter_of,
    read_header,
    read_pairs,
    read_rows,
    read_table,
    seconds_in,
)


@pytest.fixture
def table(tmp_path):
    def write(content: bytes):
        path = tmp_path / "table"
        path.write_bytes(content)
        return path

    return write


def test_commas_quotes_spaces_and_comments(table):
    path = table(b'# one\n\n a, 1.0 , "x,y"\r\n#two\nb,"2"\n')
    rows = list(read_rows(path, ",", comment="#"))
    assert rows == [(3, ["a", "1.0", "x,y"]), (5, ["b", "2"])]


def test_quotes_mean_nothing_between_tabs(table):
    assert list(read_rows(table(b'"a\tb"\n'), "\t")) == [(1, ['"a', 'b"'])]


def test_spreadsheets_quote_cells_between_tabs(table):
    path = table(b'1\t"Thump, thud"\t"say ""x"""\t"\t""\n')
    assert list(read_rows(path, "\t")) == [
        (1, ["1", "Thump, thud", 'say "x"', '"', ""])
    ]


def test_columns_by_name(table):
    path = table(b"\xef\xbb\xbfextra,Label,id\r\n,x,1\r\n\r\n,y\r\n,z,3")
    assert list(read_table(path, ",", ("id", "label"))) == [
        (2, ["1", "x"]),
        (4, None),
        (5, ["3", "z"]),
    ]


def test_lines_that_are_no_rows_stay_countable(table):
    path = table(b"id\n" + b'"' + b"x" * 200_000 + b'"\nb\n')
    assert list(read_table(path, ",", ("id",))) == [(2, None), (3, ["b"])]


def test_where_a_table_is_not_utf8_is_told(table):
    with pytest.raises(InputError, match=r"table is not UTF-8 \(after line \d+\)"):
        list(read_rows(table(b"a\n" * 10_000 + b"caf\xe9\n"), "\t"))


def test_what_cannot_be_read(table, tmp_path):
    with pytest.raises(InputError, match="nowhere cannot be read: No such file"):
        read_pairs(tmp_path / "nowhere")
    with pytest.raises(InputError, match="line 2: expected two columns"):
        read_pairs(table(b"a\tb\nc d\n"))
    assert read_pairs(table(b"a\t b \nc\td\textra\n")) == {"a": "b", "c": "d"}


@pytest.mark.parametrize(
    ("name", "first_line", "delimiter"),
    [
        ("a.csv", b"file,label\n", ","),
        ("a.csv", b"\xef\xbb\xbf\r\nfile;label;x, y\r\n", ";"),
        ("a.csv", b"file\tlabel\n", "\t"),
        ("a.csv", b"sep=,\r\nfile;label\n", ";"),
        ("a.TSV", b"file\tlabel,x,y;z\n", "\t"),
        ("a.tsv", b"file,label;x,y\n", ","),
        ("a.csv", b"file\n", ","),
        ("a.csv", b"", ","),
    ],
)
def test_what_separates_columns(tmp_path, name, first_line, delimiter):
    (tmp_path / name).write_bytes(first_line)
    assert delimiter_of(tmp_path / name) == delimiter


def test_semicolons_and_white_space(table):
    assert list(read_rows(table(b'a; "b; c";1,5\n'), ";")) == [
        (1, ["a", "b; c", "1,5"])
    ]
    assert list(read_rows(table(b"sep=;\na;b\nsep=;c\n"), ";")) == [
        (2, ["a", "b"]),
        (3, ["sep=", "c"]),
    ]
    assert list(read_rows(table(b" 3   x y\tz\n"), " ")) == [(1, ["3", "x", "y", "z"])]


def test_a_header_alone(table):
    assert read_header(table(b"\xef\xbb\xbf\n File , Label\r\na,b\n"), ",") == [
        "File",
        "Label",
    ]
    assert read_header(table(b""), ",") == []


def test_the_nearest_column_is_named(table):
    path = table(b"label,youtubeid,start\n")
    with pytest.raises(InputError, match="'YouTube_ID'; did you mean 'youtubeid'"):
        list(read_table(path, ",", ("label", "YouTube_ID")))
    # A column that is asked for as well is no guess.
    with pytest.raises(InputError, match="no column 'labels'; found label, youtubeid"):
        list(read_table(path, ",", ("label", "labels")))


def test_numbers():
    assert [seconds_in(cell) for cell in ("1", "1.5", "1,5", "1e-3")] == [
        1,
        1.5,
        1.5,
        0.001,
    ]
    assert all(math.isnan(seconds_in(cell)) for cell in ("", "1:30", "1,000.5"))
