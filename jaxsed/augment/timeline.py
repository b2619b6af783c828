"""Augmentation along time, where frame targets move with the sound: roll and mask.

Each augmentation is a deterministic function of drawn numbers, and a `random_*`
function that draws them an example (see `draws.py`). Numbers are those of the released
code (PretrainedSED `helpers/augment.py`) unless said otherwise.
"""

from fractions import Fraction

import jax
import jax.numpy as jnp

from jaxsed.augment import draws

Batch = dict[str, jax.Array]

FRAME_TARGETS = ("labels", "teacher")
MEL_FRAMES_PER_LABEL = 4  # 10 ms in all front-ends, and 40 ms


def mel_frames_per_label(batch: Batch) -> Fraction:
    """Returns how many mel frames one label frame lasts: 4, 2, 4/3 or 1.

    10 s are 250 label frames and 998 to 1001 mel frames, depending on how a front-end
    pads: 4. At time compression C there are C times fewer mel frames: 4 / C. Where the
    batch has no frame targets, there is nothing to keep in step with: 1.
    """
    for name in FRAME_TARGETS:
        if name in batch:
            full = MEL_FRAMES_PER_LABEL * batch[name].shape[1]
            factor = round(full / batch["mel"].shape[1])
            factor = min(max(factor, 1), MEL_FRAMES_PER_LABEL)
            return Fraction(MEL_FRAMES_PER_LABEL, factor)
    return Fraction(1)


def roll_time(frames: jax.Array, shift: jax.Array, period: int) -> jax.Array:
    """Moves frames later by `shift`, around a circle of `period` frames.

    Frames past the period stay where they are. Where the array is shorter than the
    period, its last frame stands in for the missing ones. So a spectrogram of 998 or
    1001 frames turns in step with its 250 label frames, period 1000.

    Args:
        frames: `[b, t, ...]`.
        shift: int32 `[b]`, positive is later.
        period: length of the circle in frames.
    """
    # One gather of whole rows: faster on the CPU than slicing a doubled array, and
    # the only form in which the frames past the period cost nothing extra.
    n_frames = frames.shape[1]
    place = jnp.arange(n_frames)
    source = jnp.mod(place[None] - shift[:, None], period)
    source = jnp.where(place < period, jnp.minimum(source, n_frames - 1), place)
    return jax.vmap(lambda rows, order: rows[order])(frames, source)


def roll_shifts(
    drawn_frames: jax.Array, frames_per_label: Fraction | int, snap: bool
) -> tuple[jax.Array, jax.Array]:
    """Returns int32 shifts `(mel frames, label frames)` of drawn, real ones.

    Args:
        drawn_frames: float32, mel frames.
        frames_per_label: mel frames a label frame lasts.
        snap: move the spectrogram by whole label frames (three at a time where three
            last four mel frames), so that both move exactly alike. False is the released
            code: the draw is cut to a whole mel frame and labels go
            round-half-even(shift / 4), up to 20 ms off.
    """
    mel_step, label_step = frames_per_label.numerator, frames_per_label.denominator
    mel_shift = jnp.trunc(drawn_frames)
    label_shift = jnp.round(mel_shift * label_step / mel_step)
    if snap:
        n_steps = jnp.round(mel_shift / mel_step)
        mel_shift, label_shift = n_steps * mel_step, n_steps * label_step
    return mel_shift.astype(jnp.int32), label_shift.astype(jnp.int32)


def random_time_roll(
    key: jax.Array,
    batch: Batch,
    *,
    probability: float,
    sigma: float = 0.125,
    reach: float = 0.0,
    snap: bool = True,
) -> Batch:
    """Rolls spectrogram, labels and teacher targets by a random time.

    Args:
        key: of this augmentation in this step.
        batch: `mel [b, t, f]` and any of `labels`, `teacher [b, t', c]`.
        probability: of an example being rolled. The released code rolls every clip,
            students' too; the paper does not name rolling.
        sigma: standard deviation of a normal distribution, as a part of the clip (0.125
            of 10 s is 1.25 s).
        reach: not 0: whole mel frames, uniform from minus this part of the clip up to
            it, instead (AST, Speech Commands: 10 frames).
        snap: see `roll_shifts`. Also closes the circle at a whole label frame (at
            the nearest mel frame to one, where it lasts 4/3); the released code rolls
            all mel frames.
    """
    n_examples, n_frames, _ = batch["mel"].shape
    coin_key, shift_key = jax.random.split(key)
    coins = draws.coins(coin_key, n_examples, probability)
    if reach:
        farthest = round(n_frames * reach)
        place = draws.uniforms(shift_key, n_examples, 1)[:, 0]
        drawn = draws.integers(place, max(2 * farthest, 1)) - farthest
    else:
        keys = draws.example_keys(shift_key, n_examples)
        drawn = jax.vmap(jax.random.normal)(keys) * int(n_frames * sigma)
    drawn = jnp.where(coins, drawn, 0.0)
    frames_per_label = mel_frames_per_label(batch)
    mel_shift, label_shift = roll_shifts(drawn, frames_per_label, snap)
    period = n_frames
    if snap:
        period = round(round(n_frames / frames_per_label) * frames_per_label)
    rolled = {"mel": roll_time(batch["mel"], mel_shift, period)}
    for name in FRAME_TARGETS:
        if name in batch:
            n_labels = batch[name].shape[1]
            rolled[name] = roll_time(batch[name], label_shift, n_labels)
    return {**batch, **rolled}


def mask_time(frames: jax.Array, first: jax.Array, width: jax.Array) -> jax.Array:
    """Sets `width [b]` frames from frame `first [b]` on to zero; `frames [b, t, ...]`."""
    place = jnp.arange(frames.shape[1])
    masked = (place >= first[:, None]) & (place < (first + width)[:, None])
    return jnp.where(masked.reshape(masked.shape + (1,) * (frames.ndim - 2)), 0, frames)


def random_time_mask(
    key: jax.Array,
    batch: Batch,
    *,
    probability: float,
    min_part: float = 0.05,
    max_part: float = 0.2,
    per_batch: bool = False,
) -> Batch:
    """Hides a stretch of time from the network, the labels and the teacher alike.

    The released code zeroes the labels twice and the teacher targets never, so a
    distilled student is told to hear what was erased; off by default there. Clip labels
    stay: what else is in the clip still tells.

    Args:
        key: of this augmentation in this step.
        batch: `mel [b, t, f]` and any of `labels`, `teacher [b, t', c]`.
        probability: of an example being masked.
        min_part: shortest mask, as a part of the clip.
        max_part: upper bound of the mask's length (exclusive, in label frames; in steps
            of three where three last four mel frames).
        per_batch: the same mask for the whole batch (released).
    """
    n_examples, n_frames, _ = batch["mel"].shape
    frames_per_label = mel_frames_per_label(batch)
    mel_step, label_step = frames_per_label.numerator, frames_per_label.denominator
    n_steps = round(n_frames / frames_per_label) // label_step
    shortest = int(n_steps * min_part)
    longest = max(int(n_steps * max_part), shortest + 1)
    coin, length, start = draws.uniforms(key, n_examples, 3, per_batch).T
    width = shortest + draws.integers(length, longest - shortest)
    first = draws.integers(start, jnp.maximum(n_steps - width, 1))
    width = jnp.where(coin < probability, width, 0)
    mel = mask_time(batch["mel"], first * mel_step, width * mel_step)
    targets = {
        name: mask_time(batch[name], first * label_step, width * label_step)
        for name in FRAME_TARGETS
        if name in batch
    }
    return {**batch, "mel": mel, **targets}
