"""The order of augmentations, and the one mapping of plain values that sets them.

Order of the released training script (PretrainedSED `ex_audioset_strong.py`): mixup of
waveforms, front-end, time rolling, mixup, Freq-MixStyle, time mask, filter
augmentation, frequency warping. What other recipes have besides is put in where they
have it: gain before the mixup of waveforms (EfficientAT), SpecAugment before that of
spectrograms (PaSST, HTS-AT), noise at the end (AST). What has probability 0 is not
traced and costs nothing.

A batch is a dict of device arrays: `audio` float32 `[b, n]` in [-1, 1] or `mel`
`[b, t, f]`, and any of `labels [b, t', c]`, `clip_labels [b, c]`, `teacher [b, t', c]` and
`clip_teacher [b, c]` (probabilities), `teacher_valid` and `times_known` bool `[b]`. Other
entries are passed on as they are.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxsed.augment import level, mix, specaugment, spectrogram, timeline
from jaxsed.errors import InputError, check_known

Batch = dict[str, jax.Array]

# Every key there is, everything off. Strengths are the released script's.
DEFAULTS: dict[str, Any] = {
    "gain_probability": 0.0,
    "gain_range_db": 12.0,
    "wave_mixup_probability": 0.0,
    "wave_mixup_alpha": 2.0,  # Beta(a, a)
    "wave_mixup_major": True,  # the larger part is the example's own
    "wave_mixup_targets": True,  # blend targets as well
    "time_roll_probability": 0.0,
    "time_roll_sigma": 0.125,  # standard deviation, part of the clip
    "time_roll_reach": 0.0,  # part of the clip; not 0: uniform within plus or minus this
    "time_roll_snap": True,  # whole label frames; False: released
    "specaugment_probability": 0.0,
    "specaugment_time_masks": 1,
    "specaugment_time_part": 0.1875,  # bound of a mask, part of the clip
    "specaugment_frequency_masks": 1,
    "specaugment_frequency_bins": 48,  # bound of a mask
    "specaugment_fill": 0.0,  # in the units of the normalised log-mel
    "specaugment_fill_with_mean": False,  # of each mel bin over the batch
    "mixup_probability": 0.0,
    "mixup_alpha": 0.2,
    "mixup_major": True,
    "mixup_targets": True,
    "mixstyle_probability": 0.0,
    "mixstyle_alpha": 0.4,
    "time_mask_probability": 0.0,
    "time_mask_min_part": 0.05,  # of the clip
    "time_mask_max_part": 0.2,
    "filter_probability": 0.0,
    "filter_min_bands": 3,
    "filter_max_bands": 5,  # inclusive
    "filter_min_width": 6,  # mel bins
    "filter_range_db": 6.0,
    "filter_units_per_db": 0.0,  # 0 multiplies the log-mel: released
    "warp_probability": 0.0,
    "warp_min_scale": 0.6,  # part of the mel bins
    "noise_probability": 0.0,
    "noise_level": 0.1,  # bound of its strength, normalised log-mel
    "vary_filterbank": False,  # where the front-end's preset has a range for it
    "partner": "neighbour",  # permutation: released
    "per_batch": False,  # True: released, one coin a batch
}

# Effective Pre-Training, section III-A: frequency warping, filter augmentation,
# Freq-MixStyle, mixup of waveforms and spectrograms, and time rolling. The paper gives
# no probabilities; these are the released teacher command's (README, --wavmix_p=1.0).
TEACHER = {
    **DEFAULTS,
    "wave_mixup_probability": 1.0,
    "time_roll_probability": 1.0,
    "mixup_probability": 0.3,
    "mixstyle_probability": 0.3,
    "filter_probability": 0.8,
    "warp_probability": 0.8,
    "vary_filterbank": True,
}
# Same section: students take mixup alone. Probabilities of the released student command.
# The filterbank is part of fPaSST's front-end there, and varies in every training.
STUDENT = {
    **DEFAULTS,
    "wave_mixup_probability": 0.5,
    "mixup_probability": 0.3,
    "vary_filterbank": True,
}

# What the released script does with the same commands: coins a batch, partners by
# permutation, and time rolling by odd frames, for students too.
_RELEASED = {"partner": "permutation", "per_batch": True, "time_roll_snap": False}
RELEASED_TEACHER = {**TEACHER, **_RELEASED}
RELEASED_STUDENT = {**STUDENT, **_RELEASED, "time_roll_probability": 1.0}

# Each augmentation folds its own number into the key, so that switching one on or off
# leaves the draws of the others as they were. Never renumber: runs would change.
_KEY_NUMBER = {
    "wave_mixup": 0,
    "time_roll": 1,
    "mixup": 2,
    "mixstyle": 3,
    "time_mask": 4,
    "filter": 5,
    "warp": 6,
    "gain": 7,
    "specaugment": 8,
    "noise": 9,
}

# In the order in which they are applied: name, function, settings shared with others.
# Blends take neighbours at different distances, so as not to meet a partner twice.
_WAVE = (
    ("gain", level.random_gain, ()),
    (
        "wave_mixup",
        functools.partial(mix.random_mixup, name="audio", distance=1),
        ("partner",),
    ),
)
_MEL = (
    ("time_roll", timeline.random_time_roll, ()),
    ("specaugment", specaugment.random_masks, ("per_batch",)),
    (
        "mixup",
        functools.partial(mix.random_mixup, name="mel", distance=2),
        ("partner", "per_batch"),
    ),
    (
        "mixstyle",
        functools.partial(mix.random_mixstyle, distance=3),
        ("partner", "per_batch"),
    ),
    ("time_mask", timeline.random_time_mask, ("per_batch",)),
    ("filter", spectrogram.random_filter, ("per_batch",)),
    ("warp", spectrogram.random_warp, ("per_batch",)),
    ("noise", level.random_noise, ()),
)


def resolve(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config with every key, missing ones from `DEFAULTS`.

    Raises:
        InputError: an unknown key, or a value out of its range.
    """
    for name in config:
        check_known("augmentation setting", name, DEFAULTS)
    full = {**DEFAULTS, **config}
    for name, low, high in _RANGES:
        value = full[name]
        if not (isinstance(value, int | float) and low <= value <= high):
            raise InputError(
                f"augment.{name}={value!r} is out of range: "
                f"give a number from {low:g} to {high:g}"
            )
    if full["filter_max_bands"] < full["filter_min_bands"]:
        raise InputError(
            f"augment.filter_max_bands={full['filter_max_bands']} is less than "
            f"filter_min_bands={full['filter_min_bands']}: swap them"
        )
    if full["time_mask_max_part"] < full["time_mask_min_part"]:
        raise InputError(
            f"augment.time_mask_max_part={full['time_mask_max_part']} is less than "
            f"time_mask_min_part={full['time_mask_min_part']}: swap them"
        )
    if full["partner"] not in mix.PARTNERS:
        raise InputError(
            f"augment.partner={full['partner']!r} is not known: "
            f"use {' or '.join(mix.PARTNERS)}"
        )
    return full


_RANGES = (
    *((name, 0.0, 1.0) for name in DEFAULTS if name.endswith("_probability")),
    *((name, 1e-3, 1e3) for name in DEFAULTS if name.endswith("_alpha")),
    ("gain_range_db", 0.0, 200.0),
    ("time_roll_sigma", 0.0, 10.0),
    ("time_roll_reach", 0.0, 1.0),
    ("specaugment_time_masks", 0, 64),
    ("specaugment_time_part", 0.0, 1.0),
    ("specaugment_frequency_masks", 0, 64),
    ("specaugment_frequency_bins", 0, 1024),
    ("specaugment_fill", -1e3, 1e3),
    ("time_mask_min_part", 0.0, 1.0),
    ("time_mask_max_part", 0.0, 1.0),
    ("filter_min_bands", 1, 64),
    ("filter_max_bands", 1, 64),
    ("filter_min_width", 1, 1024),
    ("filter_range_db", 0.0, 200.0),
    ("filter_units_per_db", 0.0, 10.0),
    ("warp_min_scale", 0.0, 1.0),
    ("noise_level", 0.0, 1e3),
)


def augment_wave(key: jax.Array, batch: Batch, config: Mapping[str, Any]) -> Batch:
    """Returns the batch with waveforms augmented; before the front-end.

    Args:
        key: of this step. Example i draws from it folded with i.
        batch: see the module's docstring, with `audio`.
        config: settings, see `DEFAULTS`.

    Raises:
        InputError: unknown or impossible setting; arrays that do not fit together.
    """
    return _applied(_WAVE, key, batch, config, "audio", ("b", "n"))


def augment_mel(key: jax.Array, batch: Batch, config: Mapping[str, Any]) -> Batch:
    """Returns the batch with spectrograms augmented; after the front-end.

    Args:
        key: of this step. Example i draws from it folded with i.
        batch: see the module's docstring, with `mel`.
        config: settings, see `DEFAULTS`.

    Raises:
        InputError: unknown or impossible setting; arrays that do not fit together.
    """
    return _applied(_MEL, key, batch, config, "mel", ("b", "t", "f"))


def _applied(
    augmentations: tuple,
    key: jax.Array,
    batch: Batch,
    config: Mapping[str, Any],
    sound: str,
    sound_axes: tuple[str, ...],
) -> Batch:
    """Applies those that are not off; hands on the very batch where all are."""
    config = resolve(config)
    active = [entry for entry in augmentations if config[f"{entry[0]}_probability"]]
    if not active:
        return batch
    batch = _checked(batch, sound, sound_axes)
    for name, augment, shared in active:
        own_key = jax.random.fold_in(key, _KEY_NUMBER[name])
        batch = augment(own_key, batch, **_settings(config, name, *shared))
    return batch


def _settings(config: dict[str, Any], name: str, *shared: str) -> dict[str, Any]:
    """Returns the settings `NAME_x` as `x`, and the shared ones asked for."""
    prefix = f"{name}_"
    own = {k.removeprefix(prefix): v for k, v in config.items() if k.startswith(prefix)}
    return {**own, **{k: config[k] for k in shared}}


_SHAPES = {
    "labels": ("b", "t'", "c"),
    "clip_labels": ("b", "c"),
    "teacher": ("b", "t'", "c"),
    "clip_teacher": ("b", "c"),
    "teacher_valid": ("b",),
    "times_known": ("b",),
}


def _checked(batch: Batch, sound: str, sound_axes: tuple[str, ...]) -> Batch:
    """Returns the batch with sound and targets as float32.

    Raises:
        InputError: sound is missing or integer, or axes of one letter differ in size.
    """
    if sound not in batch:
        raise InputError(
            f"the batch has no {sound!r}, only {', '.join(sorted(batch))}: "
            "augment_wave takes 'audio', augment_mel takes 'mel'"
        )
    if not jnp.issubdtype(batch[sound].dtype, jnp.floating):
        raise InputError(
            f"{sound} is {batch[sound].dtype}, but augmentation takes float32: "
            "divide int16 audio by 32768 first"
        )
    batch, sizes = dict(batch), {}
    for name, axes in {sound: sound_axes, **_SHAPES}.items():
        if name not in batch:
            continue
        shape = batch[name].shape
        fits = len(shape) == len(axes) and all(
            sizes.setdefault(axis, size) == size for axis, size in zip(axes, shape)
        )
        if not fits:
            known = ", ".join(f"{axis}={size}" for axis, size in sizes.items())
            raise InputError(
                f"{name} has shape {list(shape)}, but [{', '.join(axes)}] with {known} "
                "is expected: all arrays of a batch describe the same clips"
            )
        if name not in mix.VALID:
            batch[name] = batch[name].astype(jnp.float32)
    return batch
