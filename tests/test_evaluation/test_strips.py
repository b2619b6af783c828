"""Strips hold the filtered scores of each class, clip by clip, in order."""

import numpy as np
import pytest
from scipy import ndimage

from jaxsed.evaluation import keys, scores, strips
from jaxsed.evaluation.scores import ScoreStore
from tests.test_evaluation import cases


def test_layout():
    layout = strips.Layout([3, 1, 2], gap=2)
    np.testing.assert_array_equal(layout.starts, [1, 6, 9])
    assert layout.size == 13
    np.testing.assert_array_equal(layout.gaps(), [0, 4, 5, 7, 8, 11, 12])
    np.testing.assert_array_equal(
        layout.places(np.array([2, 1])), [9, 10, 11, 12, 6, 7, 8]
    )
    np.testing.assert_array_equal(layout.clip_of(np.array([1, 5, 6, 12])), [0, 0, 1, 2])
    assert layout.places(np.array([], int)).size == 0


def stored(kind, values, path):
    if kind == "store":
        ids = [f"clip{k}" for k in range(len(values))]
        vocabulary = cases.vocabulary(values.shape[2])
        store = ScoreStore.create(path, ids, vocabulary, n_frames=values.shape[1])
        store.write(np.arange(len(values)), values)
        return store
    borders = np.arange(values.shape[1] + 1) / 25
    return cases.MemoryScores({f"clip{k}": (borders, v) for k, v in enumerate(values)})


@pytest.mark.parametrize("kind", ["store", "memory"])
@pytest.mark.parametrize("width", [0, 1, 2, 5, 12])
def test_strips_are_the_filtered_scores(kind, width, tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "_BLOCK_FRAMES", 2 * 20)  # two clips
    rng = np.random.default_rng(width)
    values = rng.normal(size=(5, 20, 4)).astype(np.float16).astype(float)
    rows, labels = [4, 0, 1, 3, 2], [3, 1]
    filtered = ndimage.median_filter(values, size=(1, max(width, 1), 1))[rows]
    seen = []
    for block in strips.blocks(stored(kind, values, tmp_path), rows, labels, width):
        seen += block.clips
        for label, strip in zip(labels, block.strips, strict=True):
            assert strip.label == label
            assert strip.keys.max() < strip.n_keys - 1
            assert (strip.keys[block.layout.gaps()] == keys.NO_SCORE).all()
            frames = block.layout.starts[:, None] + np.arange(20)
            expected = filtered[list(block.clips), :, label]
            np.testing.assert_array_equal(
                np.unique(strip.keys[frames], return_inverse=True)[1],
                np.unique(expected, return_inverse=True)[1],
            )
    assert seen == list(range(5))
