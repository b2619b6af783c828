"""Wavmix: the mix of two clips' waveforms, labels and teacher targets, in the loader.

PretrainedSED `data_util/audioset_strong.py`, `MixupDataset`: with some probability a
clip is mixed with another one drawn uniformly; weight Beta(2, 2), the larger part to
the clip itself; the means are removed before and after. Labels and teacher
*probabilities* are mixed with the same weights, so labels become fractions.
"""

import numpy as np

ALPHA = 2.0  # `MixupDataset(beta=2)`
# Weights are multiples of 1/1024: then mixed 0/1 labels are exact in float16.
_WEIGHT_STEPS = 1024


def draw_weight(
    rng: np.random.Generator, alpha: float = ALPHA, major: bool = True
) -> float:
    """Returns the clip's own weight, from Beta(alpha, alpha).

    Args:
        rng: draws it.
        alpha: AST `src/dataloader.py` has 10.
        major: max(w, 1 - w); False: w itself, as in AST.
    """
    weight = rng.beta(alpha, alpha)
    if major:
        weight = max(weight, 1.0 - weight)
    return round(weight * _WEIGHT_STEPS) / _WEIGHT_STEPS


def mix_audio(own: np.ndarray, partner: np.ndarray, weight: float) -> np.ndarray:
    """Returns `weight` of `own` plus the rest of `partner`, without their means.

    Args:
        own: `[n]`, any real type and scale.
        partner: `[n]`, as `own`.
        weight: of `own`, in [0, 1].

    Returns:
        float32 `[n]`, of mean 0.
    """
    own = np.asarray(own, np.float32)
    partner = np.asarray(partner, np.float32)
    own = own - own.mean(dtype=np.float64).astype(np.float32)
    partner = partner - partner.mean(dtype=np.float64).astype(np.float32)
    mixed = own * np.float32(weight) + partner * np.float32(1.0 - weight)
    return mixed - mixed.mean(dtype=np.float64).astype(np.float32)


def mix_targets(own: np.ndarray, partner: np.ndarray, weight: float) -> np.ndarray:
    """Returns float16 targets of any shape, mixed like the audio they belong to.

    Args:
        own: labels that are 0 or 1 (uint8), or probabilities (float16).
        partner: as `own`.
        weight: of `own`.
    """
    if own.dtype == partner.dtype == np.uint8:
        # Four mixtures there are, and converting to float16 one by one is slow.
        bits = np.arange(4)
        return _mix(bits & 1, bits >> 1, weight).take(own + 2 * partner)
    return _mix(own, partner, weight)


def unmixed(labels: np.ndarray) -> np.ndarray:
    """Returns labels that are 0 or 1 (uint8) as `mix_targets` gives them: float16."""
    return np.array([0, 1], np.float16).take(labels)


def _mix(own: np.ndarray, partner: np.ndarray, weight: float) -> np.ndarray:
    weight = np.float32(weight)
    own, partner = own.astype(np.float32), partner.astype(np.float32)
    return (own * weight + partner * (np.float32(1) - weight)).astype(np.float16)
