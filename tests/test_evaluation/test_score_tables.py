"""Folders of TSVs: round trip, files of other toolkits, broken files."""

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation.score_tables import (
    ScoreTables,
    read_archive,
    read_table,
    write_tables,
)
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.vocab import Vocabulary
from tests.test_evaluation import cases

TABLE = "onset\toffset\tdog\tcat\n0.0\t0.5\t0.1\t0.2\n0.5\t1.0\t0.3\t0.4\n"


def read_all(tables, columns):
    rows = range(len(tables.ids))
    return [np.stack(block, axis=1) for _, block in tables.blocks(rows, columns)]


def test_round_trip_of_logits_is_exact(tmp_path):
    logits = np.random.default_rng(0).normal(size=(2, 5, 3), scale=20)
    store = ScoreStore.create(
        tmp_path / "s", ["b", "ä b.c", "never written"], cases.vocabulary(3), n_frames=5
    )
    store.write([0, 1], logits)
    assert write_tables(store, tmp_path / "t", probabilities=False) == 2
    tables = ScoreTables(tmp_path / "t")
    assert tables.ids == ["b", "ä b.c"]
    assert tables.vocabulary.names == cases.vocabulary(3).names
    assert tables.frame_seconds == pytest.approx(0.04)
    for found, expected in zip(read_all(tables, [2, 0]), store.logits, strict=False):
        np.testing.assert_array_equal(found, expected[:, [2, 0]].astype(float))
    np.testing.assert_array_equal(tables.timestamps(0), store.timestamps(0))

    write_tables(store, tmp_path / "p")
    probabilities = read_all(ScoreTables(tmp_path / "p"), [0, 1, 2])[0]
    np.testing.assert_allclose(
        probabilities, 1 / (1 + np.exp(-store.logits[0].astype(float)))
    )


def test_tables_in_sub_folders_are_called_by_their_paths(tmp_path):
    places = ("x/day2/a", "x/day1/b.c", "x/day1/a")  # as of `jaxsed detect`
    for name in places:
        file = tmp_path / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(TABLE)
    tables = ScoreTables(tmp_path)
    assert tables.ids == ["day1-a", "day1-b.c", "day2-a"]
    assert tables.row("day2-a") == 2
    (tmp_path / "x" / "day1-a.tsv").write_text(TABLE)
    with pytest.raises(InputError, match="would both be called day1-a"):
        ScoreTables(tmp_path)


def test_the_library_reads_what_we_write(tmp_path):
    from sed_scores_eval.base_modules.io import read_sed_scores

    store = ScoreStore.create(
        tmp_path / "s", ["a"], Vocabulary("v", ('a "quoted", name', "b")), n_frames=4
    )
    store.write([0], np.ones((1, 4, 2)))
    write_tables(store, tmp_path / "t")
    read = read_sed_scores(tmp_path / "t")
    columns = ["onset", "offset", 'a "quoted", name', "b"]
    assert list(read["a"].columns) == columns
    assert ScoreTables(tmp_path / "t").vocabulary.names == tuple(columns[2:])


def test_ids_that_are_paths_are_refused(tmp_path):
    store = ScoreStore.create(tmp_path / "s", ["../a"], cases.vocabulary(1), n_frames=1)
    store.write([0], np.ones((1, 1, 1)))
    with pytest.raises(InputError, match="cannot be a file name"):
        write_tables(store, tmp_path / "t" / "u")
    assert not list((tmp_path / "t").glob("*.tsv"))


def test_clips_may_differ_in_length_order_and_line_ends(tmp_path):
    (tmp_path / "a.tsv").write_text(TABLE)
    crlf = "\ufeffonset\toffset\tcat\tdog\r\n0\t0.25\t1\t2\r\n\r\n"
    (tmp_path / "b.tsv").write_text(crlf, encoding="utf-8", newline="")
    tables = ScoreTables(tmp_path)
    assert tables.problems == []
    first, second = read_all(tables, [0, 1])
    np.testing.assert_array_equal(first, [[0.1, 0.2], [0.3, 0.4]])
    np.testing.assert_array_equal(second, [[2.0, 1.0]])
    np.testing.assert_array_equal(tables.timestamps(1), [0, 0.25])


def frames_of(*lengths):
    ends = np.round(np.cumsum(lengths), 3)
    rows = zip([0, *ends[:-1]], ends)
    return "onset\toffset\tdog\n" + "".join(f"{a}\t{b}\t0.5\n" for a, b in rows)


def test_frames_have_one_length_or_none(tmp_path):
    # What is cut off at a clip's end, and times to a millisecond, change nothing.
    for name, lengths in {
        "a": [0.01],
        "b": [0.02, 0.004],
        "c": [0.0202] * 99 + [0.013],
    }.items():
        (tmp_path / f"{name}.tsv").write_text(frames_of(*lengths))
    assert ScoreTables(tmp_path).frame_seconds == pytest.approx(0.0202, abs=1e-5)
    (tmp_path / "d.tsv").write_text(frames_of(0.04, 0.04, 0.04))
    message = "clip 'd' has frames of 0.04 s, 'c' of 0.0202.* give --median 0"
    with pytest.raises(InputError, match=message):
        ScoreTables(tmp_path).frame_seconds  # noqa: B018
    assert ScoreTables(tmp_path).problems == []


def test_mids_as_columns_get_their_names(tmp_path):
    (tmp_path / "a.tsv").write_text(
        "onset\toffset\t/m/09x0r\t/m/of_mine\n0\t1\t0.5\t0.5\n"
    )
    vocabulary = ScoreTables(tmp_path).vocabulary
    assert vocabulary.names == ("Speech", "/m/of_mine")
    assert vocabulary.mids == ("/m/09x0r", "/m/of_mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected onset, offset"),
        ("onset\tdog\n0\t1\n", "expected onset, offset"),
        ("onset\toffset\tdog\n", "0 rows"),
        ("onset\toffset\tdog\n0\t1\tx\n", "cannot be read as a score table"),
        ("onset\toffset\tdog\n0\t1\n", "2 values under 3 columns"),
        ("onset\toffset\tdog\n0\t1\t1\n1\t2\n", "cannot be read as a score table"),
        ("onset\toffset\tdog\n0\t1\tnan\n", "not finite"),
        ("onset\toffset\tdog\n1\t1\t0\n", "must not be empty"),
        ("onset\toffset\tdog\n0\t1\t0\n2\t3\t0\n", "start where the one before ends"),
        ("onset\toffset\tdog\n-1\t1\t0\n", "start at 0 or later"),
        ("onset\toffset\tdog\tbird\n0\t1\t0\t0\n", "classes differ"),
        ("onset\toffset\tdog\tdog\n0\t1\t0\t0\n", "classes differ"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_broken_files_are_named_and_the_rest_is_read(tmp_path, text, message):
    (tmp_path / "a.tsv").write_text(TABLE)
    (tmp_path / "broken.tsv").write_text(text)
    tables = ScoreTables(tmp_path)
    assert tables.ids == ["a"]
    (problem,) = tables.problems
    assert message in problem
    assert "broken.tsv" in problem
    assert "\n" not in problem


def test_undecodable_and_missing_files(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"\xff\xfe\x00junk")
    with pytest.raises(InputError, match=r"a\.tsv: cannot be read"):
        read_table(tmp_path / "a.tsv")
    with pytest.raises(InputError, match="no usable score file"):
        ScoreTables(tmp_path)
    with pytest.raises(InputError, match="no TSV or npz in it"):
        ScoreTables(tmp_path / "nowhere")


def archive(path, **changed):
    arrays = {
        "scores": np.float16([[0.5, 0.25], [0.125, 0]]),
        "labels": np.array(["dog", "cat"]),
        "frame_borders": np.array([0, 0.04, 0.07]),
    }
    np.savez(path, **(arrays | changed))


def test_archives_are_read_as_tables_are(tmp_path):
    archive(tmp_path / "a.npz")
    (tmp_path / "b.tsv").write_text(TABLE)
    archive(tmp_path / "b.npz")
    tables = ScoreTables(tmp_path)
    assert tables.ids == ["a", "b"] and tables.problems == []
    assert tables.timestamps(0).tolist() == [0, 0.04, 0.07]
    first, second = read_all(tables, [0, 1])
    assert first.tolist() == [[0.5, 0.25], [0.125, 0]]
    assert second.tolist() == [[0.1, 0.2], [0.3, 0.4]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": np.array(["dog"])}, r"scores \[2, 2\] for 1 classes and 3 borders"),
        ({"labels": np.array([{}, {}])}, "cannot be read as an archive"),
        ({"scores": np.float16([[0, np.nan]] * 2)}, "not finite"),
        ({"frame_borders": np.array([0, 1, 1])}, "must not be empty"),
        (
            {"scores": np.zeros((0, 2)), "frame_borders": np.zeros(1)},
            "must not be empty",
        ),
    ],
)
def test_broken_archives_are_named(tmp_path, changed, message):
    archive(tmp_path / "broken.npz", **changed)
    with pytest.raises(InputError, match=rf"broken\.npz: .*{message}"):
        read_archive(tmp_path / "broken.npz")
    whole = (tmp_path / "broken.npz").read_bytes()
    (tmp_path / "broken.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read as an archive"):
        read_archive(tmp_path / "broken.npz")
