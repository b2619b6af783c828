"""SpecAugment: stripes of time and of frequency that the network does not see.

Park et al. 2019, "SpecAugment". Targets stay as they are, which suits labels of whole
clips; `timeline.random_time_mask` hides frame targets as well.
"""

import jax
import jax.numpy as jnp

from jaxsed.augment import draws

Batch = dict[str, jax.Array]


def stripes(widths: jax.Array, firsts: jax.Array, length: int) -> jax.Array:
    """Marks what lies in any of an example's stripes.

    Args:
        widths: int32 `[b, k]`, k stripes each.
        firsts: int32 `[b, k]`, first position of each.
        length: positions.

    Returns:
        bool `[b, length]`.
    """
    place = jnp.arange(length)
    begun = place >= firsts[..., None]
    return (begun & (place < (firsts + widths)[..., None])).any(axis=1)


def random_stripes(uniform: jax.Array, longest: float, length: int) -> jax.Array:
    """Places stripes at random; marks them as `stripes` does.

    A width is drawn from 0 on, `longest` excluded, and the place uniformly among those
    where it fits: torchaudio's `FrequencyMasking` and `TimeMasking` (AST, PaSST) and
    torchlibrosa's `SpecAugmentation` (HTS-AT) alike, but for a rounding. In all three
    the last position is never hidden.

    Args:
        uniform: `[b, 2 k]` in [0, 1), for k stripes.
        longest: bound of the widths, in positions.
        length: positions.
    """
    width, place = jnp.split(uniform, 2, axis=1)
    widths = jnp.minimum((width * longest).astype(jnp.int32), length)
    firsts = draws.integers(place, jnp.maximum(length - widths, 1))
    return stripes(widths, firsts, length)


def random_masks(
    key: jax.Array,
    batch: Batch,
    *,
    probability: float,
    time_masks: int = 1,
    time_part: float = 0.1875,
    frequency_masks: int = 1,
    frequency_bins: int = 48,
    fill: float = 0.0,
    fill_with_mean: bool = False,
    per_batch: bool = False,
) -> Batch:
    """Masks stripes of `batch["mel"]`.

    Args:
        key: of this augmentation in this step.
        batch: `mel [b, t, f]`; targets stay.
        probability: of an example being masked.
        time_masks: stripes of time an example.
        time_part: bound of their widths, as a part of the clip.
        frequency_masks: stripes of frequency an example.
        frequency_bins: bound of their widths, in mel bins.
        fill: what is put there, in the units of the normalised log-mel.
        fill_with_mean: put the mean of each mel bin over the batch there instead: what
            HTS-AT's zero, written behind its batch normalisation, amounts to.
        per_batch: the same stripes for the whole batch (PaSST).
    """
    mel = batch["mel"]
    n_examples, n_frames, n_bins = mel.shape
    count = 1 + 2 * (time_masks + frequency_masks)
    drawn = draws.uniforms(key, n_examples, count, per_batch)
    coin, drawn = drawn[:, 0] < probability, drawn[:, 1:]
    in_time, in_frequency = jnp.split(drawn, [2 * time_masks], axis=1)
    hidden = random_stripes(in_time, time_part * n_frames, n_frames)[:, :, None]
    hidden |= random_stripes(in_frequency, frequency_bins, n_bins)[:, None, :]
    filling = mel.mean(axis=(0, 1)) if fill_with_mean else fill
    masked = jnp.where(hidden & coin[:, None, None], filling, mel)
    return {**batch, "mel": masked}
