import numpy as np
import pytest

from jaxsed.audio.windows import Stitcher, WindowPlan, cut
from jaxsed.errors import InputError

FRAME = 4  # samples of a label frame: small, so that long sounds are small


def plan(overlap=0.2, window_frames=250):
    return WindowPlan(FRAME, window_frames, overlap)


def in_blocks(wave, *sizes):
    start, index = 0, 0
    while start < len(wave):
        size = sizes[index % len(sizes)]
        yield wave[start : start + size]
        start, index = start + size, index + 1


def stitch(windows, plan, values_of):
    stitcher = None
    pieces = []
    for window in windows:
        values = values_of(window)
        stitcher = stitcher or Stitcher(plan, values.shape[1])
        pieces.append(stitcher.add(window, values))
    return pieces


def frame_means(window):
    return window.samples.reshape(-1, FRAME).mean(1, keepdims=True)


LENGTHS = [1, 3, 4, 5, 999, 1000, 1001, 1003, 1004, 1005, 1800, 1801, 5000, 12_345]


@pytest.mark.parametrize("overlap", [0, 0.1, 0.2, 0.33, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("n_samples", LENGTHS)
def test_windows_cover_every_sample_in_any_blocks(n_samples, overlap):
    wave = np.arange(1, n_samples + 1, dtype=np.float32)
    by_size = [
        list(cut(in_blocks(wave, *sizes), plan(overlap)))
        for sizes in ((n_samples,), (7, 1, 333), (1000,))
    ]
    windows = by_size[0]
    for other in by_size[1:]:
        assert [w.start_frame for w in other] == [w.start_frame for w in windows]
        for ours, theirs in zip(windows, other):
            np.testing.assert_array_equal(ours.samples, theirs.samples)
    n_frames = plan().n_frames(n_samples)
    assert [w.start_frame for w in windows] == plan(overlap).starts(n_frames)
    assert [w.last for w in windows] == [False] * (len(windows) - 1) + [True]
    padded = np.pad(wave, (0, 2000))
    for window in windows:
        start = window.start_frame * FRAME
        np.testing.assert_array_equal(window.samples, padded[start : start + 1000])
        assert window.samples.dtype == np.float32
    assert windows[-1].start_frame + windows[-1].n_frames == n_frames


def test_last_window_is_full_of_sound():
    wave = np.ones(10_001, np.float32)
    windows = list(cut([wave], plan()))
    assert len(windows) > 1
    assert all((w.samples == 1).sum() > 1000 - FRAME for w in windows)


def test_no_sound_no_windows():
    assert list(cut([], plan())) == []
    assert list(cut([np.zeros(0, np.float32)], plan())) == []


@pytest.mark.parametrize("overlap", [0, 0.004, 0.1, 0.2, 0.33, 0.5])
def test_regular_windows_fade_into_each_other(overlap):
    p = plan(overlap)
    total = np.zeros(6 * p.hop_frames + p.window_frames)
    for index in range(7):
        start = index * p.hop_frames
        total[start : start + p.window_frames] += p.weights(index == 0, index == 6)
    np.testing.assert_allclose(total, 1, atol=2e-7)


def test_borders_known_from_one_side_are_left_to_the_neighbour():
    weights = plan(0.2).weights(first=False, last=False)
    assert plan(0.2).overlap_frames == 50
    assert not weights[:12].any() and not weights[-12:].any()
    assert (weights[38:-38] == 1).all()
    assert (np.diff(weights[12:38]) > 0).all()
    np.testing.assert_array_equal(weights, weights[::-1])
    # Where the sound itself starts or ends there is no neighbour.
    assert (plan().weights(True, False)[:200] == 1).all()
    assert (plan().weights(False, True)[50:] == 1).all()


@pytest.mark.parametrize("overlap", [0, 0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("n_samples", LENGTHS)
def test_steady_input_gives_exactly_steady_output(n_samples, overlap):
    value = np.float32(0.1) * np.arange(1, 4, dtype=np.float32)  # no binary fractions
    pieces = stitch(
        cut([np.zeros(n_samples, np.float32)], plan(overlap)),
        plan(overlap),
        lambda _: np.tile(value, (250, 1)),
    )
    stitched = np.concatenate(pieces)
    assert len(stitched) == plan().n_frames(n_samples)
    np.testing.assert_array_equal(stitched, np.tile(value, (len(stitched), 1)))


@pytest.mark.parametrize("overlap", [0, 0.2, 0.5, 0.75])
def test_frames_stay_where_they_are_in_time(overlap):
    wave = np.random.default_rng(0).standard_normal(9001).astype(np.float32)
    pieces = stitch(
        cut(in_blocks(wave, 777), plan(overlap)), plan(overlap), frame_means
    )
    expected = np.pad(wave, (0, 3)).reshape(-1, FRAME).mean(1, keepdims=True)
    np.testing.assert_allclose(np.concatenate(pieces), expected, atol=1e-6)


def test_a_step_between_windows_becomes_a_fade():
    windows = list(cut([np.zeros(FRAME * 450, np.float32)], plan(0.2)))
    assert [w.start_frame for w in windows] == [0, 200]
    levels = {0: 0.0, 200: 1.0}
    stitched = np.concatenate(
        stitch(windows, plan(), lambda w: np.full((250, 1), levels[w.start_frame]))
    )[:, 0]
    assert (stitched[:212] == 0).all() and (stitched[238:] == 1).all()
    steps = np.diff(stitched)
    assert (steps >= 0).all() and steps.max() < 1 / 25


def test_frames_come_as_soon_as_they_are_final_and_little_is_held():
    p = plan(0.2)
    held = []

    def blocks():
        for _ in range(500):
            yield np.zeros(400, np.float32)

    stitcher = Stitcher(p, 5)
    given = 0
    for window in cut(blocks(), p):
        given += len(stitcher.add(window, np.zeros((250, 5), np.float32)))
        assert given >= window.start_frame
        held.append(len(stitcher._mean))
    assert given == 50_000 and max(held) == 250


@pytest.mark.parametrize("overlap", [-0.1, 0.95, 1, float("nan")])
def test_overlap_is_a_part_of_a_window(overlap):
    with pytest.raises(InputError, match="overlap"):
        plan(overlap)
