"""Augmentation that blends an example with a partner: mixup and Freq-MixStyle.

**Who is the partner.** With `partner="neighbour"` (default) it is the example a fixed
number of places further in the global batch. The loader has shuffled the batch (where
folders have shares of it, within every few clips), so the neighbour is as random a clip
as any; but on a batch split over devices a fixed roll
moves only the examples at the borders between devices, where a random permutation makes
every device fetch the whole batch (about 450 MB a step at 256 clips of 10 s with 447
classes and teacher targets). `partner="permutation"` is the released code's: a random
permutation of the global batch, in which an example meets itself once a batch on
average.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxsed.augment import draws
from jaxsed.errors import InputError

# Rows of the batch -> the rows of each one's partner.
Partner = Callable[[jax.Array], jax.Array]
Batch = dict[str, jax.Array]

PARTNERS = ("neighbour", "permutation")
TARGETS = ("labels", "clip_labels", "teacher", "clip_teacher")
VALID = ("teacher_valid", "times_known")  # of which examples there are targets
# Inside the root of the deviation; PretrainedSED `helpers/augment.py`, mixstyle.
MIXSTYLE_EPSILON = 1e-6


def choose_partner(
    kind: str, key: jax.Array, n_examples: int, distance: int = 1
) -> Partner:
    """Returns who is blended with whom.

    Args:
        kind: `neighbour` or `permutation`, see the module's docstring.
        key: for the permutation; one for the whole batch.
        n_examples: size of the global batch.
        distance: places between neighbours. Augmentations applied one after another
            use different ones, so that they do not meet the same partner twice; wraps
            such that nobody is its own partner unless it is alone.

    Raises:
        InputError: unknown kind.
    """
    if kind == "neighbour":
        places = 1 + (distance - 1) % max(n_examples - 1, 1)
        return lambda rows: jnp.roll(rows, -places, axis=0)
    if kind == "permutation":
        order = jax.random.permutation(key, n_examples)
        return lambda rows: rows[order]
    raise InputError(f"partner={kind!r} is not known: use {' or '.join(PARTNERS)}")


def blend(rows: jax.Array, others: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns `weight * rows + (1 - weight) * others`; untouched where weight is 1.

    Args:
        rows: `[b, ...]`.
        others: `[b, ...]`, the partners' rows.
        weight: `[b]`.
    """
    weight = _over(weight, rows)
    return jnp.where(weight < 1, weight * rows + (1 - weight) * others, rows)


def blend_waves(audio: jax.Array, others: jax.Array, weight: jax.Array) -> jax.Array:
    """Blends waveforms `[b, n]` free of their constant offsets.

    Means are removed before and after (PretrainedSED `data_util/audioset_strong.py`,
    MixupDataset), in blended clips only.
    """
    centred = audio - audio.mean(axis=1, keepdims=True)
    others = others - others.mean(axis=1, keepdims=True)
    blended = blend(centred, others, weight)
    blended = blended - blended.mean(axis=1, keepdims=True)
    return jnp.where(_over(weight, audio) < 1, blended, audio)


def blend_targets(batch: Batch, weight: jax.Array, partner: Partner) -> Batch:
    """Returns the batch with all targets blended like the sound they belong to.

    Teacher targets are blended as probabilities. A blend of which one part has no
    teacher targets (`teacher_valid` false), or labels of the clip alone (`times_known`
    false), has none either of what that part lacks.

    Args:
        batch: any of `labels` and `teacher [b, t, c]`, `clip_labels` and
            `clip_teacher [b, c]`, `teacher_valid` and `times_known [b]` (bool); the
            rest is passed on.
        weight: `[b]`, 1 where an example stays alone.
        partner: from `choose_partner`.
    """
    batch = dict(batch)
    for name in TARGETS:
        if name in batch:
            rows = blend(batch[name], partner(batch[name]), weight)
            batch[name] = jnp.clip(rows, 0.0, 1.0)
    for name in VALID:
        if name in batch:
            valid = batch[name].astype(bool)
            batch[name] = valid & (partner(valid) | (weight >= 1))
    return batch


def mixstyle(mel: jax.Array, weight: jax.Array, partner: Partner) -> jax.Array:
    """Freq-MixStyle: gives each mel bin statistics part-way to the partner's.

    Mean and unbiased variance over time of each bin, as in the released code; gradients
    do not pass through them.

    Args:
        mel: `[b, t, f]`.
        weight: `[b]`, share of the example's own statistics; untouched where it is 1.
        partner: from `choose_partner`.
    """
    mean = mel.mean(axis=1, keepdims=True)
    # With one frame there is no variance; max keeps 0/0 out.
    squares = jnp.square(mel - mean).sum(axis=1, keepdims=True)
    variance = squares / max(mel.shape[1] - 1, 1)
    deviation = jnp.sqrt(variance + MIXSTYLE_EPSILON)
    mean, deviation = jax.lax.stop_gradient((mean, deviation))
    new_mean = blend(mean, partner(mean), weight)
    new_deviation = blend(deviation, partner(deviation), weight)
    styled = (mel - mean) / deviation * new_deviation + new_mean
    return jnp.where(_over(weight, mel) < 1, styled, mel)


def random_mixup(
    key: jax.Array,
    batch: Batch,
    name: str,
    *,
    probability: float,
    alpha: float,
    major: bool = True,
    targets: bool = True,
    partner: str = "neighbour",
    distance: int = 1,
    per_batch: bool = False,
) -> Batch:
    """Blends sound and targets of examples with their partners'.

    Args:
        key: of this augmentation in this step.
        batch: see `blend_targets`, and the sound under `name`.
        name: `audio` (blended as waveforms, `blend_waves`) or `mel`.
        probability: of an example being blended.
        alpha: weights are drawn an example from Beta(alpha, alpha). Released: 2 for
            waveforms, 0.2 for spectrograms.
        major: the larger part is the example's own (PretrainedSED, EfficientAT); False:
            as it is drawn (AST, HTS-AT).
        targets: blend targets as well. HTS-AT `sed_model.py` does not: the partner is
            noise there.
        partner: see the module's docstring.
        distance: see `choose_partner`.
        per_batch: one coin a batch (released, spectrograms) instead of one an example
            (released, waveforms; default).
    """
    n_examples = batch[name].shape[0]
    weight, chosen = _draw(
        key, n_examples, probability, alpha, major, partner, distance, per_batch
    )
    mix = blend_waves if name == "audio" else blend
    mixed = mix(batch[name], chosen(batch[name]), weight)
    if targets:
        batch = blend_targets(batch, weight, chosen)
    return {**batch, name: mixed}


def random_mixstyle(
    key: jax.Array,
    batch: Batch,
    *,
    probability: float,
    alpha: float = 0.4,
    partner: str = "neighbour",
    distance: int = 1,
    per_batch: bool = False,
) -> Batch:
    """Applies `mixstyle` to `batch["mel"]`; targets stay. Arguments: `random_mixup`."""
    n_examples = batch["mel"].shape[0]
    weight, chosen = _draw(
        key, n_examples, probability, alpha, True, partner, distance, per_batch
    )
    return {**batch, "mel": mixstyle(batch["mel"], weight, chosen)}


def _draw(
    key: jax.Array,
    n_examples: int,
    probability: float,
    alpha: float,
    major: bool,
    partner: str,
    distance: int,
    per_batch: bool,
) -> tuple[jax.Array, Partner]:
    """Returns weights `[b]`, 1 where the coin says no, and the partners."""
    coin_key, weight_key, partner_key = jax.random.split(key, 3)
    chosen = choose_partner(partner, partner_key, n_examples, distance)
    coins = draws.coins(coin_key, n_examples, probability, per_batch)
    uniform = draws.uniforms(weight_key, n_examples, 2)
    weights = draws.major_weights if major else draws.beta_weights
    weight = weights(uniform, alpha)
    return jnp.where(coins, weight, 1.0), chosen


def _over(weight: jax.Array, rows: jax.Array) -> jax.Array:
    """Reshapes `[b]` so that it broadcasts over `[b, ...]`."""
    return weight.reshape(weight.shape + (1,) * (rows.ndim - weight.ndim))
