import numpy as np

from jaxsed.data.slice_rows import SliceRows

ROWS = SliceRows([25, 88, 25, 50], 25)


def test_rows_are_slices_clip_by_clip():
    assert len(ROWS) == 8 and ROWS.any_several
    assert [ROWS.of_clip(clip) for clip in range(4)] == [
        range(0, 1),
        range(1, 5),
        range(5, 6),
        range(6, 8),
    ]
    clips, first_frames, n_frames = ROWS.slices(np.arange(8))
    assert clips.tolist() == [0, 1, 1, 1, 1, 2, 3, 3]
    assert first_frames.tolist() == [0, 0, 25, 50, 75, 0, 0, 25]
    assert n_frames.tolist() == [25, 25, 25, 25, 13, 25, 25, 25]


def test_weights_of_a_clips_slices_are_its_frames():
    weights = ROWS.weights(np.arange(8))
    np.testing.assert_allclose(weights[1:5], np.array([25, 25, 25, 13]) / 88)
    assert weights[[0, 5]].tolist() == [1.0, 1.0]


def test_clips_of_one_slice_are_rows():
    ones = SliceRows([250] * 3, 250)
    assert len(ones) == 3 and not ones.any_several
