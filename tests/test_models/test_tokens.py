import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models.tokens import Grid

FRAMES = Grid(mel_frames=41, frames_per_step=4, steps=10, last_frame_is_edge=True)
ROWS = Grid(mel_frames=42, frames_per_step=4, steps=10, rows=2, prefix=1)
COLUMNS = Grid(
    mel_frames=42, frames_per_step=4, steps=10, rows=2, time_major=False, prefix=1
)
KEPT = Grid(
    mel_frames=42, frames_per_step=4, steps=10, rows=2, prefix=1, keeps_prefix=True
)
JOINED = Grid(
    mel_frames=42,
    frames_per_step=4,
    steps=10,
    rows=2,
    prefix=1,
    time_major=False,
    joins_rows=True,
)


@pytest.mark.parametrize(
    ("grid", "n_mel_frames", "n_steps", "n_frames"),
    [
        (FRAMES, 41, 10, 10),
        (FRAMES, 40, 10, 10),
        (FRAMES, 37, 9, 9),
        (FRAMES, 1, 1, 1),
        (ROWS, 42, 10, 20),
        (ROWS, 5, 2, 4),
        (KEPT, 5, 2, 5),
        (JOINED, 5, 2, 2),
    ],
)
def test_a_started_step_counts(grid, n_mel_frames, n_steps, n_frames):
    assert grid.n_steps(n_mel_frames) == n_steps
    assert grid.n_frames(n_mel_frames) == n_frames
    assert grid.n_steps(jnp.array([n_mel_frames])).tolist() == [n_steps]
    assert grid.n_frames(jnp.array([n_mel_frames])).tolist() == [n_frames]


def test_rates_follow_from_the_grid():
    assert FRAMES.frame_rate_hz == 25
    assert ROWS.frame_rate_hz == 50
    assert JOINED.frame_rate_hz == 25
    assert Grid(mel_frames=998, frames_per_step=16, steps=62).clip_seconds == 10


def test_longer_clips_are_refused():
    FRAMES.check(41)
    with pytest.raises(InputError, match=r"0\.42 s long \(42 mel.*at most 0\.4 s"):
        FRAMES.cut(jnp.zeros((1, 42, 3)))


def test_steps_are_cut_from_the_first_frame_on():
    mel = jnp.arange(2 * 9 * 3.0).reshape(2, 9, 3)
    steps = FRAMES.cut(mel)
    assert steps.shape == (2, 2, 4, 3)
    np.testing.assert_array_equal(steps.reshape(2, 8, 3), mel[:, :8])


@pytest.mark.parametrize("zeros", [False, True])
def test_an_incomplete_step_is_filled_up(zeros):
    grid = Grid(mel_frames=40, frames_per_step=4, steps=10, fills_with_zeros=zeros)
    mel = 1 + jnp.arange(5.0)[None, :, None]
    steps = grid.cut(mel)
    filling = [0, 0, 0] if zeros else [5, 5, 5]
    assert steps[0, :, :, 0].tolist() == [[1, 2, 3, 4], [5, *filling]]
    # With the same clip in a longer one, whatever follows it.
    padded = jnp.pad(mel, ((0, 0), (0, 7), (0, 0)), constant_values=99)
    again = grid.cut(padded, jnp.array([5]))
    np.testing.assert_array_equal(again[:, :2], steps)


@pytest.mark.parametrize("grid", [ROWS, COLUMNS])
def test_order_and_validity_of_tokens(grid):
    step = jnp.arange(10.0)[None, :, None, None] + jnp.zeros((1, 10, 2, 1))
    tokens = grid.arrange(step)[0, :, 0]
    assert tokens[1] == (0 if grid.time_major else 1)
    valid = grid.valid_tokens(jnp.array([9]), n_steps=10)[0]
    assert valid[0]
    np.testing.assert_array_equal(valid[1:], tokens < 3)


def test_frames_leave_the_prefix_out_or_keep_it_or_join_rows():
    tokens = jnp.arange(21.0)[None, :, None]
    assert ROWS.frames(tokens)[0, 0, 0] == 1
    assert KEPT.frames(tokens).shape == (1, 21, 1)
    joined = JOINED.frames(tokens)
    assert joined.shape == (1, 10, 2)
    assert joined[0, 3].tolist() == [4, 14]


@pytest.mark.parametrize("grid", [FRAMES, ROWS, KEPT, JOINED])
def test_a_short_clip_is_extended_by_its_last_step(grid):
    whole = grid.n_frames(grid.mel_frames)
    frames = jnp.arange(float(whole))[None, :, None]
    assert grid.extended(frames, grid.mel_frames) is frames
    n_valid = grid.n_frames(9)
    alone = grid.extended(frames[:, :n_valid], 9)
    padded = grid.extended(frames, jnp.array([9]))
    assert alone.shape == (1, whole, 1)
    np.testing.assert_array_equal(alone, padded)
    np.testing.assert_array_equal(alone[:, :n_valid], frames[:, :n_valid])
    rows = grid.n_frames(grid.mel_frames) - grid.n_frames(grid.mel_frames - 4 - 2)
    last = frames[0, n_valid - rows : n_valid, 0]
    np.testing.assert_array_equal(alone[0, -rows:, 0], last)


@pytest.mark.parametrize("wider_steps", [False, True])
@pytest.mark.parametrize(("grid", "steps"), [(FRAMES, 3), (KEPT, 3), (JOINED, 3)])
def test_a_compressed_grid_covers_the_same_time(grid, steps, wider_steps):
    coarse = grid.compressed(4, wider_steps=wider_steps)
    assert (coarse.steps, coarse.full_steps, coarse.factor) == (steps, 10, 4)
    assert coarse.frame_rate_hz == grid.frame_rate_hz / 4
    assert coarse.frames_per_step == (16 if wider_steps else 4)
    assert coarse.mel_frames == (grid.mel_frames if wider_steps else 11)
    n_mel_frames = 9 if wider_steps else 3  # a bit more than two steps, of ten
    assert coarse.n_steps(n_mel_frames) == 1
    assert coarse.n_steps(coarse.mel_frames) == steps


@pytest.mark.parametrize("grid", [FRAMES, KEPT, JOINED])
def test_refined_frames_lie_at_the_times_of_full_resolution(grid):
    coarse = grid.compressed(4, wider_steps=True)
    rows, kept = (1 if grid.joins_rows else grid.rows), grid.keeps_prefix
    times = 4 * np.arange(3) + 1.5  # middles, in steps at full resolution
    others = np.stack([times, *[times + 100] * (rows - 1)], axis=1).ravel()
    frames = jnp.asarray(np.concatenate([[-1.0] * kept, others]))[None, :, None]
    refined = np.asarray(coarse.refined(frames))[0, :, 0]
    assert refined.shape == (grid.n_frames(grid.mel_frames),)
    assert (refined[:kept] == -1).all()
    expected = np.clip(np.arange(10), 1.5, None)  # the first is held before its middle
    by_row = refined[kept:].reshape(10, rows)
    np.testing.assert_allclose(by_row[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(by_row[:, -1], expected + 100 * (rows > 1), atol=1e-6)
    assert grid.refined(frames) is frames
