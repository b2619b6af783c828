"""What embeddings of mel spectrograms share: cutting in time, looking up positions."""

import jax
import jax.numpy as jnp

from jaxsed.errors import InputError


def cut_steps(mel: jax.Array, n_steps: int, frames_per_step: int) -> jax.Array:
    """Groups mel frames into steps of equal length, from the first frame on.

    Frames beyond the last step are left out (a centred STFT has one too many); where
    frames lack, the last one is repeated, so that a clip of any length ends with a
    whole step.

    Args:
        mel: `[b, t, f]`.
        n_steps: Number of steps wanted.
        frames_per_step: Mel frames in a step.

    Returns:
        `[b, n_steps, frames_per_step, f]`.
    """
    wanted = n_steps * frames_per_step
    lacking = max(0, wanted - mel.shape[1])
    mel = jnp.pad(mel[:, :wanted], ((0, 0), (0, lacking), (0, 0)), mode="edge")
    return mel.reshape(mel.shape[0], n_steps, frames_per_step, mel.shape[-1])


def check_length(n_steps: int, n_positions: int, steps_per_second: float) -> None:
    """Refuses clips that are longer than the table of positions.

    Args:
        n_steps: Steps in the clip.
        n_positions: Steps that the encoder has learned positions for.
        steps_per_second: For the message.

    Raises:
        InputError: If `n_steps` is more than `n_positions`.
    """
    if n_steps > n_positions:
        longest = n_positions / steps_per_second
        raise InputError(
            f"The clip is {n_steps / steps_per_second:g} s long, but the encoder has "
            f"positions for {longest:g} s; cut longer audio into windows of at most "
            f"{longest:g} s."
        )
