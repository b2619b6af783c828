"""Sequence model and heads without the encoder, for frames that it gave before."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.sed import SoundEventModel


class HeadsAlone(SoundEventModel):
    """What of a `SoundEventModel` comes after its encoder, with the same parameters.

    The encoder is there to be asked for its lengths; it has no parameters here.

    Attributes:
        n_mel_frames: Of the clips that were encoded, which are all of one length.
    """

    n_mel_frames: int = 0

    @nn.compact
    def __call__(self, *heard: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Scores what the encoder made of clips.

        Args:
            *heard: `[b, ...]` each, in the order of the property `heard`, in any type of
                floating point numbers.

        Returns:
            As `SoundEventModel`; by name only what comes after the encoder, and `heard`.
        """
        encoded = {}
        for name, array in zip(self.heard, heard, strict=True):
            # As encoders give them: frames in the type of the matmuls, the summary of a
            # clip, a mean of many, in float32 or better.
            exact = jnp.promote_types(self.dtype, jnp.float32)
            encoded[name] = array.astype(self.dtype if array.ndim > 2 else exact)
        return self._scored(encoded, self.n_mel_frames)


def heads_alone(model: SoundEventModel, clip_seconds: float) -> HeadsAlone:
    """Returns the part of a model after its encoder.

    Args:
        model: All of it.
        clip_seconds: Of the clips that were encoded.
    """
    settings = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(SoundEventModel)
        if field.name not in ("parent", "name")
    }
    n_samples = round(clip_seconds * model.frontend.sample_rate)
    return HeadsAlone(**settings, n_mel_frames=model.frontend.n_mel_frames(n_samples))


def heard_shapes(
    model: SoundEventModel, params: Mapping[str, Any], clip_seconds: float
) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns what the encoder gives of one clip, by name, in the order of `heard`.

    Args:
        model: All of it, with the encoder.
        params: Its parameters, or their shapes.
        clip_seconds: Of the clip.
    """
    n_samples = round(clip_seconds * model.frontend.sample_rate)

    def encode(params):
        mel = model.frontend(jnp.zeros((1, n_samples), jnp.float32))
        return model.apply({"params": params}, mel)[1]

    out = jax.eval_shape(encode, params)
    return {
        name: jax.ShapeDtypeStruct(out[name].shape[1:], out[name].dtype)
        for name in model.heard
    }
