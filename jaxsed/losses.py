"""Losses of all stages: cross-entropies on frames and clips, and distillation.

All take logits in any float type, compute in float32 and return
`(loss, measurements)`: a scalar to minimise, and what is worth logging (`mean_over_steps`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.errors import InputError


class SomeClips(NamedTuple):
    """A mean over some of a batch's clips, in a form that parts of a batch add up in.

    Attributes:
        total: Sum over those clips.
        n_clips: How many they are; float32.
    """

    total: jax.Array
    n_clips: jax.Array


Measurements = dict[str, jax.Array | SomeClips]


def mean_over_steps(
    steps: Sequence[Mapping[str, np.ndarray | SomeClips]],
) -> dict[str, float]:
    """Returns what is logged of some steps: means over them, by name.

    Args:
        steps: what each measured, fetched from the devices; the same names in all. A mean
            over some clips of a batch becomes one over those clips of all batches, NaN
            where there was none.
    """

    def mean(values: Sequence[np.ndarray | SomeClips]) -> float:
        if not isinstance(values[0], SomeClips):
            return float(np.mean(values))
        total, n_clips = np.sum(values, axis=0, dtype=np.float64)
        return float(total / n_clips) if n_clips else math.nan

    return {name: mean([step[name] for step in steps]) for name in steps[0]}


def frame_bce(
    logits: jax.Array, labels: jax.Array, valid: jax.Array | None = None
) -> tuple[jax.Array, Measurements]:
    """Binary cross-entropy, mean over clips, frames and classes.

    Args:
        logits: `[b, t, c]`.
        labels: `[b, t, c]` in [0, 1], soft after mixup.
        valid: `[b]`, false for clips that only fill up a batch; None counts all.

    Raises:
        InputError: shapes differ.
    """
    _check(logits, labels, "labels")
    loss = _mean_over_clips(_per_clip(logits, labels), valid)
    return loss, {"label_bce": loss}


def clip_bce(
    clip_logits: jax.Array, clip_labels: jax.Array, valid: jax.Array | None = None
) -> tuple[jax.Array, Measurements]:
    """Binary cross-entropy of clip labels, mean over clips and classes.

    Args:
        clip_logits: `[b, c]`.
        clip_labels: `[b, c]` in [0, 1].
        valid: `[b]`, false for clips that only fill up a batch; None counts all.

    Raises:
        InputError: shapes differ.
    """
    _check(clip_logits, clip_labels, "clip_labels")
    loss = _mean_over_clips(_per_clip(clip_logits, clip_labels), valid)
    return loss, {"label_bce": loss}


def frame_or_clip_bce(
    logits: jax.Array,
    labels: jax.Array,
    clip_logits: jax.Array,
    clip_labels: jax.Array,
    times_known: jax.Array,
) -> tuple[jax.Array, Measurements]:
    """Binary cross-entropy of what is known of each clip: its frames, or itself.

    Li, Shao and Li (2024, "Self-Supervised Audio Teacher-Student Transformer", section on
    DESED; their code adds the means over both kinds of clips). Here all clips count the
    same: with as many of either kind that is half of their sum, however a batch is split.

    Args:
        logits: `[b, t, c]`.
        labels: `[b, t, c]` in [0, 1]; not looked at where times are not known.
        clip_logits: `[b, c]`.
        clip_labels: `[b, c]` in [0, 1]; looked at where times are not known.
        times_known: bool `[b]`.

    Returns:
        The loss, and `label_bce` of the clips whose times are known, `clip_bce` of the
        others (both `SomeClips`) and `times_part`, the part of the former.

    Raises:
        InputError: shapes differ.
    """
    _check(logits, labels, "labels")
    _check(clip_logits, clip_labels, "clip_labels")
    known = times_known.astype(bool)
    of_frames = _per_clip(logits, labels)
    of_clips = _per_clip(clip_logits, clip_labels)
    return jnp.where(known, of_frames, of_clips).mean(), {
        "label_bce": _some_clips(of_frames, known),
        "clip_bce": _some_clips(of_clips, ~known),
        "times_part": known.astype(jnp.float32).mean(),
    }


def clip_ce(
    clip_logits: jax.Array, clip_labels: jax.Array, valid: jax.Array | None = None
) -> tuple[jax.Array, Measurements]:
    """Cross-entropy of clips that have one label each, mean over clips.

    The class is the largest value of the label vector, the first of several, as in AST
    (`src/traintest.py`): a mix of two clips is of the louder one's class.

    Args:
        clip_logits: `[b, c]`.
        clip_labels: `[b, c]` in [0, 1].
        valid: `[b]`, false for clips that only fill up a batch; None counts all.

    Raises:
        InputError: shapes differ.
    """
    _check(clip_logits, clip_labels, "clip_labels")
    log_probabilities = jax.nn.log_softmax(clip_logits.astype(jnp.float32))
    labels = jnp.argmax(clip_labels, axis=-1)[:, None]
    per_clip = -jnp.take_along_axis(log_probabilities, labels, axis=-1)[:, 0]
    loss = _mean_over_clips(per_clip, valid)
    return loss, {"label_ce": loss}


def distillation(
    logits: jax.Array,
    labels: jax.Array,
    teacher: jax.Array,
    weight: float = 0.9,
    teacher_valid: jax.Array | None = None,
) -> tuple[jax.Array, Measurements]:
    """Learns from labels and from an ensemble: (1 - w) BCE(labels) + w BCE(teacher).

    Effective Pre-Training, section II-D; the weight is the released student command's
    (README, --distillation_loss_weight=0.9; the paper does not state it). The entropy
    of the teacher's soft targets is not subtracted, so the loss does not reach 0.

    Clips without teacher targets learn from their labels with full weight, so that
    every clip counts the same.

    Args:
        logits: `[b, t, c]` of frames, or `[b, c]` of clips.
        labels: like `logits`, in [0, 1].
        teacher: like `logits`, probabilities.
        weight: w, from 0 to 1.
        teacher_valid: `[b]`, false for clips without teacher targets, whose `teacher`
            is then ignored, whatever it holds; None: all have them.

    Returns:
        The loss, and `label_bce`, `teacher_bce` (`SomeClips`, those that have a
        teacher) and `teacher_part`, the part of clips that have one.

    Raises:
        InputError: shapes differ, or `weight` is not in [0, 1].
    """
    check_weight(weight)
    _check(logits, labels, "labels")
    _check(logits, teacher, "teacher")
    n_clips = logits.shape[0]
    if teacher_valid is None:
        teacher_valid = jnp.ones(n_clips, bool)
    has_teacher = teacher_valid.astype(bool)
    each = has_teacher.reshape(-1, *(1,) * (teacher.ndim - 1))
    teacher = jnp.where(each, teacher, 0)
    label_bce = _per_clip(logits, labels)
    teacher_bce = jnp.where(has_teacher, _per_clip(logits, teacher), 0.0)
    share = jnp.where(has_teacher, weight, 0.0)
    loss = ((1.0 - share) * label_bce + share * teacher_bce).mean()
    return loss, {
        "label_bce": label_bce.mean(),
        "teacher_bce": _some_clips(teacher_bce, has_teacher),
        "teacher_part": has_teacher.astype(jnp.float32).mean(),
    }


def check_weight(weight: float) -> None:
    """Refuses what is no part of a loss.

    Args:
        weight: of the teachers, see `distillation`.

    Raises:
        InputError: it is not in [0, 1].
    """
    if not 0 <= weight <= 1:
        raise InputError(
            f"the distillation weight is {weight}: choose a value from 0 to 1"
        )


def _per_clip(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Returns `[b]`, the mean binary cross-entropy of each clip."""
    logits = logits.astype(jnp.float32)
    targets = targets.astype(jnp.float32)
    return _bce(logits, targets).mean(axis=tuple(range(1, logits.ndim)))


@jax.custom_jvp
def _bce(logits: jax.Array, targets: jax.Array) -> jax.Array:
    # Accurate at both ends: the first two terms cancel exactly where the answer is
    # right, and what is left is below 1. exp never overflows.
    bce = jnp.maximum(logits, 0.0) - logits * targets
    return bce + jnp.log1p(jnp.exp(-jnp.abs(logits)))


# Differentiated term by term, the kinks of max and abs add up to a gradient that is
# wrong by 0.5 at logit 0, which is where a head with zero weights starts.
_bce.defjvps(
    lambda tangent, bce, logits, targets: tangent * (jax.nn.sigmoid(logits) - targets),
    lambda tangent, bce, logits, targets: -tangent * logits,
)


def _mean_over_clips(per_clip: jax.Array, valid: jax.Array | None) -> jax.Array:
    if valid is None:
        return per_clip.mean()
    total, n_clips = _some_clips(per_clip, valid)
    return total / jnp.maximum(n_clips, 1)


def _some_clips(per_clip: jax.Array, valid: jax.Array) -> SomeClips:
    valid = valid.astype(bool)
    total = jnp.where(valid, per_clip, 0.0).sum()
    return SomeClips(total, valid.sum(dtype=jnp.float32))


def _check(logits: jax.Array, targets: jax.Array, name: str) -> None:
    if logits.shape != targets.shape:
        raise InputError(
            f"{name} have shape {list(targets.shape)} but the logits "
            f"{list(logits.shape)}: frames and classes must be the model's"
        )
