import pytest

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
    ids = ClipIds(["other", stored])
    for asked in (video, f"Y{video}.mp3", f"{video}_30000"):
        assert ids.find(asked) == (1, "truncated")


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
