"""Augmentation along frequency, which leaves targets alone: filter and warp.

Each augmentation is a deterministic function of drawn numbers, and a `random_*`
function that draws them an example (see `draws.py`). Numbers are those of the released
code (PretrainedSED `helpers/augment.py`) unless said otherwise.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.augment import draws

Batch = dict[str, jax.Array]


def band_edges(
    offsets: jax.Array, n_bands: jax.Array, n_bins: int, min_width: jax.Array
) -> jax.Array:
    """Returns the mel bins at which bands begin, `[b, max_bands + 1]` int32.

    The first is 0 and every edge from `n_bands` on is `n_bins`, so that arrays have one
    shape whatever number of bands was drawn.

    Args:
        offsets: int32 `[b, max_bands - 1]`, drawn in [0, n_bins - n_bands * min_width];
            the first `n_bands - 1` count.
        n_bands: int32 `[b]`.
        n_bins: mel bins.
        min_width: int32 `[b]`, bins of the narrowest band allowed.
    """
    inner = jnp.arange(1, offsets.shape[1] + 1)
    unused = inner >= n_bands[:, None]
    ordered = jnp.sort(jnp.where(unused, n_bins, offsets), axis=1)
    edges = jnp.where(unused, n_bins, ordered + inner * min_width[:, None])
    first = jnp.zeros_like(edges[:, :1])
    return jnp.concatenate([first, edges, first + n_bins], axis=1).astype(jnp.int32)


def filter_gains(edges: jax.Array, gains_db: jax.Array, n_bins: int) -> jax.Array:
    """Returns the filter in dB, `[b, f]`: straight lines in dB between band edges.

    A band reaches the gain of its right edge at its last bin, so that the bin at an
    edge repeats the value of the bin before it: the released code's `linspace`.

    Args:
        edges: int32 `[b, max_bands + 1]`, from `band_edges`.
        gains_db: float32 `[b, max_bands + 1]`, gain at each edge.
        n_bins: mel bins.
    """
    bins = jnp.arange(n_bins)
    band = (bins[None, :, None] >= edges[:, None, 1:]).sum(axis=-1)
    band = jnp.minimum(band, edges.shape[1] - 2)

    def at(values, index):
        return jnp.take_along_axis(values, index, axis=1)

    left, right = at(edges, band), at(edges, band + 1)
    along = (bins - left) / jnp.maximum(right - left - 1, 1)
    start, end = at(gains_db, band), at(gains_db, band + 1)
    return start + (end - start) * along


def apply_filter(
    mel: jax.Array, gains_db: jax.Array, units_per_db: float = 0.0
) -> jax.Array:
    """Filters a normalised log-mel spectrogram.

    Args:
        mel: `[b, t, f]`.
        gains_db: `[b, f]`.
        units_per_db: 0 multiplies the *normalised log-mel* by 10^(dB / 20), as the
            released code does: not a filter in the acoustic sense, but what the
            published numbers were trained with. Otherwise what one dB is in the
            front-end's normalised units (ATST-F: 2 / 130.3324), and the gain is added:
            filter augmentation as its authors describe it.
    """
    gains_db = gains_db[:, None, :]
    if units_per_db:
        return mel + gains_db * units_per_db
    return mel * jnp.power(10.0, gains_db / 20.0)


def random_filter(
    key: jax.Array,
    batch: Batch,
    *,
    probability: float,
    min_bands: int = 3,
    max_bands: int = 5,
    min_width: int = 6,
    range_db: float = 6.0,
    units_per_db: float = 0.0,
    per_batch: bool = False,
) -> Batch:
    """Filters `batch["mel"]` with a random piecewise linear response.

    Args:
        key: of this augmentation in this step.
        batch: `mel [b, t, f]`; targets stay.
        probability: of an example being filtered.
        min_bands: fewest bands.
        max_bands: most bands, inclusive.
        min_width: bins of the narrowest band; less where the bands would not fit.
        range_db: gains at band edges are uniform within plus or minus this.
        units_per_db: see `apply_filter`.
        per_batch: one coin, one number of bands and one set of edges a batch; gains are
            drawn an example all the same (released).
    """
    n_examples, _, n_bins = batch["mel"].shape
    shape_key, gains_key = jax.random.split(key)
    drawn = draws.uniforms(shape_key, n_examples, 1 + max_bands, per_batch)
    coin, count, offset = drawn[:, 0], drawn[:, 1], drawn[:, 2:]
    n_bands = min_bands + draws.integers(count, max_bands - min_bands + 1)
    widths = [min(min_width, n_bins // max(n, 1)) for n in range(max_bands + 1)]
    width = jnp.asarray(np.array(widths, np.int32))[n_bands]
    offset = draws.integers(offset, (n_bins - n_bands * width + 1)[:, None])
    edges = band_edges(offset, n_bands, n_bins, width)
    drawn_gains = draws.uniforms(gains_key, n_examples, max_bands + 1)
    gains_db = filter_gains(edges, (2.0 * drawn_gains - 1.0) * range_db, n_bins)
    gains_db = jnp.where((coin < probability)[:, None], gains_db, 0.0)
    return {**batch, "mel": apply_filter(batch["mel"], gains_db, units_per_db)}


# Torch's (and OpenCV's) bicubic coefficient; Keys' original is -0.5.
BICUBIC_A = -0.75


def warp_matrix(height: jax.Array, offset: jax.Array, n_bins: int) -> jax.Array:
    """Returns `[b, f_out, f_in]`, the linear map of `warp_frequency`.

    Args:
        height: int32 `[b]`, bins of the crop, 1 to n_bins.
        offset: int32 `[b]`, first bin of the crop, 0 to n_bins - height.
        n_bins: mel bins.
    """
    scale = (height - 1).astype(jnp.float32) / max(n_bins - 1, 1)
    position = jnp.arange(n_bins) * scale[:, None]
    base = jnp.floor(position)
    along = position - base
    tap = base.astype(jnp.int32)[..., None] + jnp.arange(-1, 3)
    # Taps beyond the crop repeat its edge bin, although bins beyond it exist.
    tap = jnp.clip(tap, 0, height[:, None, None] - 1) + offset[:, None, None]
    weight = _cubic(jnp.stack([1 + along, along, 1 - along, 2 - along], axis=-1))
    chosen = tap[..., None] == jnp.arange(n_bins)
    return jnp.where(chosen, weight[..., None], 0.0).sum(axis=2)


def _cubic(distance: jax.Array) -> jax.Array:
    """The cubic convolution kernel at `distance` in [0, 2] samples."""
    near = ((BICUBIC_A + 2) * distance - (BICUBIC_A + 3)) * distance**2 + 1
    far = BICUBIC_A * (((distance - 5) * distance + 8) * distance - 4)
    return jnp.where(distance <= 1, near, far)


def warp_frequency(mel: jax.Array, height: jax.Array, offset: jax.Array) -> jax.Array:
    """Stretches `height` bins from bin `offset` on over the whole spectrogram.

    Bicubic, first and last bin of the crop on first and last bin of the result
    (align_corners). Time is untouched.

    A matrix an example instead of a gather of four taps: bins lie along the lanes of
    the accelerator, where a gather is slow and a small matmul is almost free; on a CPU
    the matmul takes a third of the gather's time too.

    Args:
        mel: `[b, t, f]`.
        height: int32 `[b]`.
        offset: int32 `[b]`.
    """
    matrix = warp_matrix(height, offset, mel.shape[2]).astype(mel.dtype)
    return jnp.einsum("btf,bof->bto", mel, matrix, precision=jax.lax.Precision.HIGHEST)


def crop_height(uniform: jax.Array, n_bins: int, min_scale: float) -> jax.Array:
    """Returns int32 heights of crops for draws `uniform` in [0, 1)."""
    scale = min_scale + (1.0 - min_scale) * uniform
    return jnp.clip((scale * n_bins).astype(jnp.int32), 1, n_bins)


def random_warp(
    key: jax.Array,
    batch: Batch,
    *,
    probability: float,
    min_scale: float = 0.6,
    per_batch: bool = False,
) -> Batch:
    """Stretches a random crop of the mel bins of `batch["mel"]`.

    Args:
        key: of this augmentation in this step.
        batch: `mel [b, t, f]`; targets stay.
        probability: of an example being warped.
        min_scale: smallest crop, as a part of the bins; uniform up to all of them.
        per_batch: one coin and one crop a batch (released).
    """
    n_examples, _, n_bins = batch["mel"].shape
    coin, scale, place = draws.uniforms(key, n_examples, 3, per_batch).T
    height = crop_height(scale, n_bins, min_scale)
    offset = draws.integers(place, n_bins - height + 1)
    warped = warp_frequency(batch["mel"], height, offset)
    return {
        **batch,
        "mel": jnp.where((coin < probability)[:, None, None], warped, batch["mel"]),
    }
