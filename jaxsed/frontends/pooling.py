"""Mel frames pooled over time: fewer of them, each of several neighbours."""

import jax
import jax.numpy as jnp

POOLINGS = ("avg_pool", "max_pool")


def pool(
    mel: jax.Array,
    pooling: str,
    n_pooled: int,
    n_mel_frames: jax.Array | None = None,
    padding: float | None = None,
) -> jax.Array:
    """Pools neighbouring frames, kernel and stride alike (From Coarse to Fine, eq. 2).

    A clip's last frames may fill no whole window. They are not left out ("pool, then
    pad"), but pooled with what the encoder's authors pad spectrograms with ("pad, then
    pool", as in the paper, where pooling sits behind the padding), or by themselves if
    they do not pad. So a clip keeps its end, has as many frames as with a longer hop,
    and `Preset.n_label_frames` tells its length from them.

    Args:
        mel: `[b, t, f]`, normalised.
        pooling: "avg_pool" or "max_pool".
        n_pooled: C, frames that become one.
        n_mel_frames: int `[b]`, how many of t are the clip's; None for all. The rest
            is not looked at.
        padding: What a window is filled up with; None for nothing.

    Returns:
        `[b, ceil(t / C), f]`; what lies after a clip's `ceil(n_mel_frames / C)` frames is
        finite and means nothing.
    """
    n_clips, n_frames, n_mels = mel.shape
    lacking = -n_frames % n_pooled
    ends = jnp.full(n_clips, n_frames) if n_mel_frames is None else n_mel_frames
    windows = jnp.pad(mel, ((0, 0), (0, lacking), (0, 0)))
    windows = windows.reshape(n_clips, -1, n_pooled, n_mels)
    inside = jnp.arange(n_frames + lacking) < ends[:, None]
    inside = inside.reshape(n_clips, -1, n_pooled, 1)
    if padding is not None:
        windows = jnp.where(inside, windows, padding)
        inside = jnp.ones_like(inside)
    if pooling == "avg_pool":
        total = jnp.sum(windows, axis=2, where=inside)
        return total / jnp.maximum(jnp.sum(inside, axis=2), 1)
    highest = jnp.max(jnp.where(inside, windows, -jnp.inf), axis=2)
    return jnp.where(jnp.any(inside, axis=2), highest, 0)
