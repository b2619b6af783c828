"""What the original's loader wants and our models do not have, for the way back."""

from collections.abc import Mapping

import numpy as np


def defaults(
    encoder: str, released: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, str]]:
    """Makes them.

    Args:
        encoder: Name of the encoder.
        released: All other arrays in the released layout.

    Returns:
        Array, and what it is, by key; only of keys that `released` lacks.
    """
    make = {
        "atst_frame": _atst_frame,
        "m2d": _m2d,
        "frame_mn06": _counts,
        "frame_mn10": _counts,
    }.get(encoder)
    made = {} if make is None else make(released)
    return {key: value for key, value in made.items() if key not in released}


def _atst_frame(released):
    width = released["model.atst.pos_embed"].shape[-1]
    zeros = np.zeros((1, 1, width), np.float32)
    return {"model.atst.mask_embed": (zeros, "zeros")}


def _counts(released):
    """BatchNorm's number of batches seen, beside each variance."""
    name = "num_batches_tracked"
    keys = [key for key in released if key.endswith(".running_var")]
    return {
        f"{key.removesuffix('running_var')}{name}": (np.zeros((), np.int64), "zero")
        for key in keys
    }


def _m2d(released):
    """Buffers of nnAudio's spectrogram, and the statistics that are never used."""
    from jaxsed.frontends import stft
    from jaxsed.frontends.presets import PRESETS

    preset = PRESETS["m2d"]
    window = np.asarray(preset.window(), np.float32)
    cosines, sines = stft.windowed_sines(window)
    bank = np.asarray(preset.bank(), np.float32)
    why = "the front-end's own"
    return {
        "model.backbone.norm_stats": (
            np.array([-7.1, 4.2], np.float32),
            "the original's constants",
        ),
        "model.to_spec.mel_basis": (bank.T, why),
        "model.to_spec.stft.wsin": (sines.T[:, None], why),
        "model.to_spec.stft.wcos": (cosines.T[:, None], why),
        "model.to_spec.stft.window_mask": (window[None, :, None], why),
    }
