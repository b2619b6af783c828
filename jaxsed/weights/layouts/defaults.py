"""What the original's loader wants and our models do not have, for the way back."""

from collections.abc import Mapping

import numpy as np

from jaxsed.weights.layouts import ast, htsat


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
        "ast": _ast,
        "ast_s16": _ast,
        "ssast": _ssast,
        "ssast_deit_small": _ssast,
        "ssast_deit_tiny": _ssast,
        "ssast_deit_tiny_frame": _ssast,
        "ssast_s10": _ast,
        "ssast_frame": _ssast,
        "htsat": _htsat,
    }.get(encoder)
    made = {} if make is None else make(released)
    return {key: value for key, value in made.items() if key not in released}


def _atst_frame(released):
    width = released["model.atst.pos_embed"].shape[-1]
    zeros = np.zeros((1, 1, width), np.float32)
    return {"model.atst.mask_embed": (zeros, "zeros")}


def _ast(released):
    """DeiT's classifiers of ImageNet, which stay in the original unused."""
    width = released[f"{ast.TRANSFORMER}cls_token"].shape[-1]
    return {
        f"{ast.TRANSFORMER}{head}.{name}": (np.zeros(shape, np.float32), "zeros")
        for head in ("head", "head_dist")
        for name, shape in (("weight", (1000, width)), ("bias", (1000,)))
    }


def _ssast(released):
    """And the size of spectrograms, by which the original fits positions."""
    sizes = {"p_input_fdim": 128, "p_input_tdim": 1024}
    return _ast(released) | {
        f"{ast.WRAPPER}{name}": (np.array(size, np.int64), "of its pre-training")
        for name, size in sizes.items()
    }


def _htsat(released):
    """Buffers of front-end and windows, and a layer that stays in the original unused."""
    made = {key: (array, "computed") for key, array in htsat.derived(released).items()}
    bias = released.get(f"{htsat.MODEL}.tscam_conv.bias")
    if bias is not None:
        for name, shape in (("weight", (len(bias),) * 2), ("bias", bias.shape)):
            made[f"{htsat.MODEL}.head.{name}"] = np.zeros(shape, np.float32), "zeros"
    return made | _counts(released)


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
