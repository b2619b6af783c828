import os

import pytest

from jaxsed.inference.journal import Journal, fingerprint
from jaxsed.inference.outputs import Detection

ONE, TWO = Detection("a", 0.0, 1.0, "Bell", 0.9), Detection("b", 2.0, 3.0, "Bark", 0.8)
NAME = os.fsdecode(b"gr\xc3\xb6\xc3\x9fe\n\xff.wav")


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for name in ("a.tsv", "a.csv", "b.tsv"):
        (tmp_path / name).write_text(name)
    journal.add("b", "/in/b", "f1", ["b.tsv"], [TWO])
    journal.add("a", "/in/a", "f2", ["a.tsv", "a.csv"], [ONE, ONE._replace(onset=0.5)])
    return journal


def reopened(journal):
    return Journal(journal._path)


def test_what_is_added_is_there_after_reopening(journal, tmp_path):
    for each in (journal, reopened(journal)):
        assert list(each.detections()) == [ONE, ONE._replace(onset=0.5), TWO]
        assert "a" in each and "c" not in each
        assert each["b"].source == "/in/b"
        assert each.lacking("a", "f2", ["a.csv"]) == []


def test_lacking_is_what_is_not_there_or_not_known_to_be_the_same(journal, tmp_path):
    assert journal.lacking("c", "f2", []) is None
    assert journal.lacking("a", "f1", ["a.csv"]) is None
    assert journal.lacking("a", "f2", ["a.csv", "a.json"]) == ["a.json"]
    (tmp_path / "a.json").touch()  # of another run: not known to be of this one
    assert journal.lacking("a", "f2", ["a.csv", "a.json"]) == ["a.json"]
    (tmp_path / "a.tsv").write_text("")  # so a power cut may leave it
    assert journal.lacking("a", "f2", ["a.csv", "a.tsv"]) == ["a.tsv"]
    (tmp_path / "a.csv").unlink()
    assert journal.lacking("a", "f2", ["a.csv"]) == ["a.csv"]


def test_results_may_be_added(journal, tmp_path):
    (tmp_path / "a.json").touch()
    before = list(journal.detections())
    journal.add_outputs("a", ["a.json", "a.csv"])
    for each in (journal, reopened(journal)):
        assert each["a"].outputs == {"a.tsv": 5, "a.csv": 5, "a.json": 0}
        assert each.lacking("a", "f2", ["a.json", "a.tsv"]) == []
        assert list(each.detections()) == before
        assert each.events("b") == [TWO]


def test_the_last_line_about_a_file_counts(journal):
    journal.add("a", "/in/a", "f3", ["a.tsv"], [])
    journal.remove("b")
    for each in (journal, reopened(journal)):
        assert list(each.detections()) == []
        assert each["a"].fingerprint == "f3" and "b" not in each


def test_results_that_are_about_to_be_others_do_not_count(journal):
    journal.remove_other("a", "f2")
    journal.remove_other("b", "f2")
    journal.remove_other("c", "f2")
    for each in (journal, reopened(journal)):
        assert "a" in each and "b" not in each


def test_a_sound_is_known_by_its_ends(tmp_path):
    path, marks = tmp_path / "a.wav", set()
    middle = bytes(20_000)
    for content in (b"one" + middle, b"two" + middle, b"two" + middle[3:] + b"end"):
        path.write_bytes(content)
        os.utime(path, (1, 1))
        marks.add(fingerprint(path, {"threshold": 0.5}))
        assert fingerprint(path, {"threshold": 0.5}) in marks
    assert len(marks) == 3
    assert fingerprint(path, {"threshold": 0.6}) not in marks
    path.write_bytes(b"")
    assert fingerprint(path, {}) not in marks


def test_a_sound_is_there_once_under_its_last_name(journal):
    journal.add("in/b", "/in/b", "f1", [], [TWO])
    for each in (journal, reopened(journal)):
        assert "in/b" in each and "b" not in each
        assert [row.filename for row in each.detections()] == ["a", "a", "in/b"]
    journal.add("b", "/in/b", "f1", [], [TWO])
    assert "in/b" not in reopened(journal)


def test_files_of_other_settings_are_counted_and_left_out(journal):
    journal.add(
        "c", "/in/c", "f", [], [ONE], settings="s", problem="cut off", seconds=2.5
    )
    for each in (journal, reopened(journal)):
        assert [row.filename for row in each.detections("s")] == ["c"]
        assert (each.n_of_other("s"), each.n_of_other("")) == (2, 1)
        assert (each["c"].problem, each["a"].problem) == ("cut off", "")
        assert (each.problems("s"), each.problems("")) == (["cut off"], [])
        assert each["c"].seconds == 2.5


def test_any_name_survives(journal):
    journal.add(NAME, NAME, "f", [], [ONE._replace(filename=NAME)])
    assert list(reopened(journal).detections())[-1].filename == NAME


def test_a_line_cut_at_any_place_is_ignored_and_not_in_the_way(journal, tmp_path):
    whole = journal._path.read_bytes()
    second = whole.index(b"\n") + 1
    for end in range(second, len(whole) - 1, 7):
        journal._path.write_bytes(whole[:end])
        cut = reopened(journal)
        assert list(cut.detections()) == [TWO]
        cut.add("c", "/in/c", "f", [], [ONE])
        for each in (cut, reopened(cut)):
            assert [row.filename for row in each.detections()] == ["b", "c"]


@pytest.mark.parametrize("line", ["[]", "3", "null", '{"name": "x"}', "\x00", "{"])
def test_lines_that_are_no_entries_are_ignored(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    path.write_text(line + "\n")
    assert list(Journal(path).detections()) == []


def test_fingerprints_change_with_file_and_settings(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("123")
    os.utime(path, (5, 5))
    first = fingerprint(path, {"threshold": 0.5})
    assert fingerprint(path, {"threshold": 0.5}) == first
    assert fingerprint(path, {"threshold": 0.6}) != first
    os.utime(path, (6, 5))
    assert fingerprint(path, {"threshold": 0.5}) == first
    os.utime(path, (5, 6))
    assert fingerprint(path, {"threshold": 0.5}) != first
    path.write_text("1234")
    os.utime(path, (5, 5))
    assert fingerprint(path, {"threshold": 0.5}) != first
