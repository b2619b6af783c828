import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.augment import timeline

KEY = jax.random.key(5)


def run(function, batch, **settings):
    """Compiled as a whole: op by op takes several times as long."""
    return jax.jit(functools.partial(function, **settings))(KEY, batch)


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "golden" / "ops.npz") as file:
        names = [n for n in file.files if n.startswith(("frameshift", "timemask"))]
        return {name: file[name] for name in names}


def impulses(n_frames, n_clips=12, n_labels=250, at=100):
    """Clips that sound, and are labelled, in label frame `at` alone."""
    mel = np.zeros((n_clips, n_frames, 2), np.float32)
    mel[:, 4 * at : 4 * at + 4] = 1
    labels = np.zeros((n_clips, n_labels, 1), np.float32)
    labels[:, at] = 1
    return {
        "mel": jnp.asarray(mel),
        "labels": jnp.asarray(labels),
        "teacher": jnp.asarray(0.8 * labels),
    }


def test_shifts_match_the_original(golden):
    mel_shift, label_shift = timeline.roll_shifts(
        jnp.asarray(golden["frameshift_gauss_draw"], jnp.float32), 4, snap=False
    )
    assert np.array_equal(mel_shift, golden["frameshift_mel_shift"])
    assert np.array_equal(label_shift, golden["frameshift_label_shift"])
    assert np.array_equal(label_shift, golden["frameshift_pseudo_shift"])


def test_snapped_shifts_are_whole_label_frames_and_move_labels_as_before(golden):
    mel_shift, label_shift = timeline.roll_shifts(
        jnp.asarray(golden["frameshift_gauss_draw"], jnp.float32), 4, snap=True
    )
    assert np.array_equal(label_shift, golden["frameshift_label_shift"])
    assert np.array_equal(mel_shift, 4 * label_shift)


def test_positive_shift_is_later():
    frames = jnp.arange(5.0)[None, :, None]
    rolled = timeline.roll_time(frames, jnp.array([2]), 5)
    assert rolled[0, :, 0].tolist() == [3, 4, 0, 1, 2]


def test_roll_equals_numpys():
    frames = np.random.default_rng(0).standard_normal((6, 17, 3)).astype(np.float32)
    shifts = np.array([0, 3, -3, 17, 100, -200])
    rolled = timeline.roll_time(jnp.asarray(frames), jnp.asarray(shifts), 17)
    for row, clip, shift in zip(rolled, frames, shifts):
        assert np.array_equal(row, np.roll(clip, shift, axis=0))


@pytest.mark.parametrize("n_frames", [998, 1000, 1001])
def test_sound_labels_and_teacher_move_exactly_together(n_frames):
    """Also around the end of the clip, whatever frames the front-end pads or lacks."""
    # sigma as long as the clip: most of the shifts wrap around.
    batch = impulses(n_frames)
    rolled = run(timeline.random_time_roll, batch, probability=1.0, sigma=1.0)
    where = np.asarray(rolled["labels"][:, :, 0]).argmax(axis=1)
    assert len(set(where.tolist())) > 6
    for clip, label_frame in enumerate(where):
        sounding = np.flatnonzero(np.asarray(rolled["mel"][clip, :, 0]))
        expected = np.arange(4 * label_frame, 4 * label_frame + 4)
        assert np.array_equal(sounding, expected[expected < n_frames])
        assert np.flatnonzero(rolled["labels"][clip, :, 0]).tolist() == [label_frame]
    np.testing.assert_allclose(rolled["teacher"], 0.8 * rolled["labels"], rtol=1e-6)


def test_released_roll_is_off_by_at_most_half_a_label_frame():
    batch = impulses(1000)
    rolled = run(
        timeline.random_time_roll, batch, probability=1.0, sigma=0.05, snap=False
    )
    first_frame = np.asarray(rolled["mel"][:, :, 0]).argmax(axis=1)
    label_frame = np.asarray(rolled["labels"][:, :, 0]).argmax(axis=1)
    error = first_frame - 4 * label_frame
    assert np.abs(error).max() <= 2
    assert np.abs(error).max() > 0


def test_other_frame_rates_keep_step():
    # 20 ms mel frames, as at time compression 2.
    batch = impulses(500)
    batch["mel"] = jnp.repeat(batch["labels"], 2, axis=1)
    rolled = run(timeline.random_time_roll, batch, probability=1.0, sigma=0.2)
    expected = jnp.repeat(rolled["labels"], 2, axis=1)
    assert np.array_equal(rolled["mel"], expected)
    assert not np.array_equal(rolled["labels"], batch["labels"])


def test_a_third_of_the_mel_frames_keeps_step():
    """30 ms mel frames, as at time compression 3: four are three label frames."""
    mel = np.zeros((12, 334, 1), np.float32)
    labels = np.zeros((12, 250, 1), np.float32)
    mel[:, 132:136], labels[:, 99:102] = 1, 1
    batch = {"mel": jnp.asarray(mel), "labels": jnp.asarray(labels)}
    rolled = run(timeline.random_time_roll, batch, probability=1.0, sigma=0.15)
    sounding = np.asarray(rolled["mel"][:, :, 0]).argmax(axis=1)
    labelled = np.asarray(rolled["labels"][:, :, 0]).argmax(axis=1)
    assert len(set(labelled.tolist())) > 6
    assert np.array_equal(3 * sounding, 4 * labelled)

    everywhere = {name: jnp.ones_like(rows) for name, rows in batch.items()}
    masked = run(timeline.random_time_mask, everywhere, probability=1.0)
    for clip in range(12):
        silent = np.flatnonzero(masked["mel"][clip, :, 0] == 0)
        unlabelled = np.flatnonzero(masked["labels"][clip, :, 0] == 0)
        assert 3 * silent.min() == 4 * unlabelled.min()
        assert 3 * len(silent) == 4 * len(unlabelled) > 0


def test_shift_has_the_released_spread(golden):
    for n_frames in (998, 1000, 1001):
        sigma = int(n_frames * 0.125)
        assert sigma == golden[f"frameshift_sigma_{n_frames}"]
    batch = {"mel": jnp.zeros((2000, 1001, 1)).at[:, 500].set(1.0)}
    rolled = run(timeline.random_time_roll, batch, probability=1.0)
    shift = np.asarray(rolled["mel"][:, :, 0]).argmax(axis=1) - 500
    assert abs(shift.mean()) < 10
    assert abs(shift.std() - 125) < 8
    # No labels to keep in step with, so any mel frame will do.
    assert set(shift % 4) == {0, 1, 2, 3}


def test_a_reach_is_asts_roll():
    """`np.random.randint(-10, 10)` frames, the upper end left out."""
    batch = {"mel": jnp.zeros((2000, 128, 1)).at[:, 64].set(1.0)}
    settings = {"probability": 1.0, "reach": 10 / 128, "snap": False}
    rolled = run(timeline.random_time_roll, batch, **settings)
    shift = np.asarray(rolled["mel"][:, :, 0]).argmax(axis=1) - 64
    assert set(shift) == set(range(-10, 10))
    counts = np.unique(shift, return_counts=True)[1]
    assert (np.abs(counts - 100) < 5 * 10).all()


def test_probability_decides_per_example():
    batch = impulses(1000, n_clips=200)
    rolled = run(timeline.random_time_roll, batch, probability=0.5, sigma=1.0)
    moved = np.any(np.asarray(rolled["labels"] != batch["labels"]), axis=(1, 2))
    assert 0.35 < moved.mean() < 0.65


def test_mask_matches_the_original(golden):
    ones = jnp.ones((1, golden["timemask_mel_row"].size, 2))
    hidden = np.flatnonzero(golden["timemask_label_row"] == 0)
    first, width = jnp.array([hidden[0]]), jnp.array([hidden.size])
    mel = timeline.mask_time(ones, 4 * first, 4 * width)
    assert np.array_equal(mel[0, :, 0], golden["timemask_mel_row"])
    labels = jnp.ones((1, golden["timemask_label_row"].size, 1))
    masked = timeline.mask_time(labels, first, width)
    assert np.array_equal(masked[0, :, 0], golden["timemask_label_row"])


def test_mask_hides_the_same_time_from_everyone_the_teacher_included():
    batch = {
        "mel": jnp.ones((40, 1001, 2)),
        "labels": jnp.ones((40, 250, 1)),
        "teacher": jnp.full((40, 250, 1), 0.5),
    }
    masked = run(timeline.random_time_mask, batch, probability=0.8)
    hidden = np.asarray(masked["labels"][:, :, 0]) == 0
    assert np.array_equal(np.asarray(masked["teacher"][:, :, 0]) == 0, hidden)
    mel_hidden = np.asarray(masked["mel"][:, :, 0]) == 0
    assert np.array_equal(mel_hidden[:, :1000], np.repeat(hidden, 4, axis=1))
    width = hidden.sum(axis=1)
    assert 0 < (width == 0).sum() < 20
    assert width[width > 0].min() >= 12 and width.max() < 50
    assert (np.abs(np.diff(hidden.astype(int), axis=1)).sum(axis=1) <= 2).all()


def test_mask_per_batch_is_one_mask():
    batch = {"mel": jnp.ones((5, 100, 2))}
    masked = run(timeline.random_time_mask, batch, probability=1.0, per_batch=True)
    mel = np.asarray(masked["mel"])
    assert (mel == mel[0]).all() and (mel == 0).any()


def test_very_short_clips_survive():
    batch = {"mel": jnp.ones((2, 3, 2)), "labels": jnp.ones((2, 1, 1))}
    rolled = run(timeline.random_time_roll, batch, probability=1.0)
    masked = run(timeline.random_time_mask, rolled, probability=1.0)
    assert np.isfinite(masked["mel"]).all()
