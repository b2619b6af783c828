import tracemalloc

import pytest

from jaxsed.data import clip_ids
from jaxsed.data.clip_ids import ClipIds

VIDEO = "b0RFKhbpFJA"


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("a", "a.wav"),
        ("a.flac", "a"),
        ("a.mp3", "folder/a.wav"),
        ("folder/a.mp3", "a"),
        (f"Y{VIDEO}", f"{VIDEO}_30000"),
        (f"Y{VIDEO}.mp3", f"{VIDEO}_30000.wav"),
        (VIDEO, f"Y{VIDEO}.mp3"),
        (f"Y{VIDEO}_30000", f"{VIDEO}_30000"),
        (f"{VIDEO}_30000", f"Y{VIDEO}_30000.WAV"),
    ],
)
def test_other_spellings_are_found(stored, asked):
    assert ClipIds(["other", stored]).find(asked) == (1, "respelled")


@pytest.mark.parametrize("video", ["abcdefghi3m", "abcdefghipp", "abcdefgh3mp"])
def test_ids_cut_short_by_the_released_code_are_found(video):
    stored = f"Y{video}.mp3".rstrip(".mp3")
    assert stored != f"Y{video}"
    ids = ClipIds(["other", stored], cut_short=True)
    for asked in (video, f"Y{video}.mp3", f"{video}_30000"):
        assert ids.find(asked) == (1, "truncated")


def test_numbered_clips_are_not_taken_for_each_other():
    ids = ClipIds(["clip_1", "clip_2.wav", "Yard"])
    for asked in ("clip_13", "clip_23.wav", "clip_133", "Yardp"):
        assert ids.find(asked) is None


def test_an_exact_id_goes_before_a_respelled_one():
    ids = ClipIds(["a.wav", "a", "Ya"])
    assert ids.find("a") == (1, "exact")
    assert ids.find("a.wav") == (0, "exact")
    assert ids.find("Ya") == (2, "exact")


@pytest.mark.parametrize("asked", ["b", "", "m", ".mp3", "ab_30000", "a_1", "3"])
def test_what_is_not_there_is_not_found(asked):
    assert ClipIds(["a", f"Y{VIDEO}", "ab"]).find(asked) is None


def test_the_start_time_is_part_of_ids_that_are_not_audiosets():
    # Two cuts of one recording must not share a teacher.
    assert ClipIds(["recording"]).find("recording_10") is None


def test_an_ambiguous_id_is_not_found():
    ids = ClipIds(["a.wav", "a.mp3", "b", "b"])
    assert ids.find("a") is None
    assert ids.find("b") is None
    assert ids.find("a.mp3") == (1, "exact")


def test_all_at_once_are_found_as_one_by_one(monkeypatch):
    monkeypatch.setattr(clip_ids, "_IDS_AT_ONCE", 4)
    stored = ["a.wav", "a.mp3", "b", "b", f"Y{VIDEO}.mp3", "ü", "x/c.flac", "d"]
    asked = ["a", "b", "a.mp3", VIDEO, f"{VIDEO}_3000", "ü", "c", "d", "e", "ü.wav"]
    ids = ClipIds(stored)
    assert len(ids) == len(stored)
    one_by_one = [ids.find(clip_id) for clip_id in asked]
    assert list(ids.find_all(iter(asked))) == one_by_one
    assert [found and found[0] for found in one_by_one] == [
        *(None, None, 1, 4, 4, 5, 6, 7, None, 5)
    ]


def test_an_empty_store_has_nothing():
    assert ClipIds([]).find("a") is None
    assert list(ClipIds([]).find_all(["a"])) == [None]


def test_many_ids_take_little_memory():
    n_ids = 200_000
    tracemalloc.start()
    ids = ClipIds(f"{row:011d}_30000" for row in range(n_ids))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 13 * n_ids
    assert peak < 60 * n_ids
    for row in (0, 77_777, n_ids - 1):
        assert ids.find(f"{row:011d}_30000") == (row, "exact")
    assert ids.find(f"{n_ids:011d}_30000") is None
