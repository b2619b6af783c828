import numpy as np
import pytest

from jaxsed.evaluation.score_tables import read_table
from jaxsed.inference import frame_scores

LABELS = ["Bark", "Domestic animals, pets", 'Say "cheese"\there']
SCORES = np.random.default_rng(0).random((251, 3), np.float32) ** 8


def write(kind, path):
    with frame_scores.FORMATS[kind](path, LABELS, 0.04) as (add, finish):
        for piece in np.split(SCORES, [1, 2, 200]):
            add(piece)
        finish(10.0123)


def test_table_is_read_by_the_evaluation(tmp_path):
    write("tsv", tmp_path / "sub" / "a.tsv")
    names, borders, scores = read_table(tmp_path / "sub" / "a.tsv")
    assert names == LABELS
    np.testing.assert_allclose(borders[:-1], np.arange(251) * 0.04, atol=1e-6)
    assert borders[-1] == 10.0123
    np.testing.assert_allclose(scores, SCORES, rtol=1e-4)


def test_archive_round_trip(tmp_path):
    write("npz", tmp_path / "sub" / "a.npz")
    with np.load(tmp_path / "sub" / "a.npz", allow_pickle=False) as back:
        np.testing.assert_array_equal(back["scores"], SCORES.astype(np.float16))
        np.testing.assert_allclose(back["frame_borders"][:-1], np.arange(251) * 0.04)
        assert back["frame_borders"][-1] == 10.0123
        assert back["labels"].tolist() == LABELS


@pytest.mark.parametrize("kind", ["tsv", "npz"])
def test_nothing_is_left_of_a_sound_that_broke_off(tmp_path, kind):
    write(kind, tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    with (
        pytest.raises(RuntimeError),
        frame_scores.FORMATS[kind](tmp_path / "a", LABELS, 0.04) as (add, _),
    ):
        add(SCORES)
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == before


def test_scores_are_called_as_the_evaluation_looks_for_them():
    files = ["a/b.wav", "c.x.flac", "d.wav", "d.mp3", "e"]
    assert frame_scores.names(files) == {
        "a/b.wav": "a/b",
        "c.x.flac": "c.x",
        "d.wav": "d.wav",
        "d.mp3": "d.mp3",
        "e": "e",
    }
    # A whole name is not what a third file is called without its ending.
    three = ["a.flac", "a.wav", "a.wav.wav"]
    assert frame_scores.names(three) == {name: name for name in three}
    # Nor does every disk tell these apart.
    two = ["Dawn.wav", "dawn.flac"]
    assert frame_scores.names(two) == {name: name for name in two}
