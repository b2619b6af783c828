"""Step 1: learning from sounds without labels, by masked spectrogram patch modelling.

SSAST (Gong et al., AAAI 2022; `src/traintest_mask.py` of the original): most of the
patches are hidden, and the encoder is to tell them apart (InfoNCE) and to
reconstruct them (squared error), in two forward passes with masks of their own.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jaxsed import pretext_losses
from jaxsed.augment import draws, patch_masks
from jaxsed.errors import InputError, check_known
from jaxsed.models.masked_patches import MASKED_PATCHES, PASSES, MaskedPatchModel
from jaxsed.stages import train
from jaxsed.stages.pretext_scoring import PretextScorer

# Every key of `config.pretext` there is.
DEFAULTS: dict[str, Any] = {
    "masks": "released",  # released | clusters | single, see `augment.patch_masks`
    "part": patch_masks.PART,  # of the patches is hidden
    "sides": patch_masks.SIDES,  # of squares of hidden patches
    "nce_over": "predictions",  # or patches, as in the paper: see `pretext_losses`
    "mse_weight": 10.0,  # lambda, in paper and code
}


def task(config: Mapping[str, Any]) -> train.Task:
    """Returns the stage: joint discriminative and generative pre-training.

    Raises:
        InputError: an unknown or impossible setting, or a model that has classes.
    """
    pretext = resolve(config.get("pretext", {}))
    if config["model"]["head"] != MASKED_PATCHES:
        raise InputError(
            f"model.head={config['model']['head']}: pre-training knows no classes; set "
            f"model.head={MASKED_PATCHES}"
        )

    def draw(model: MaskedPatchModel, batch: dict, key: jax.Array) -> dict:
        keys = draws.example_keys(key, len(batch["mel"]))
        return {**batch, "hidden": draw_hidden(model, keys, pretext)}

    def objective(predicted, out, batch):
        found = {
            name: values.mean()
            for name, values in measure(predicted, out["true"], pretext).items()
        }
        return found["nce"] + pretext["mse_weight"] * found["mse"], found

    return train.Task(
        name="pretrain",
        targets=None,
        objective=objective,
        inputs=("mel", "hidden"),
        draw=draw,
        scorer=functools.partial(
            PretextScorer,
            draw=functools.partial(draw_hidden, pretext=pretext),
            measure=functools.partial(measure, pretext=pretext),
        ),
    )


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Trains an encoder on sounds alone; labels are not read."""
    train.run(config, workdir, task(config))


def resolve(pretext: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings with every key, missing ones from `DEFAULTS`.

    Raises:
        InputError: an unknown key or an impossible value.
    """
    for name in pretext:
        check_known("pretext setting", name, DEFAULTS)
    full = {**DEFAULTS, **pretext}
    check_known("pretext.masks", full["masks"], patch_masks.KINDS)
    check_known("pretext.nce_over", full["nce_over"], pretext_losses.OVER)
    if not full["mse_weight"] >= 0:
        raise InputError(f"pretext.mse_weight={full['mse_weight']}: expected 0 or more")
    return full


def draw_hidden(
    model: MaskedPatchModel,
    keys: jax.Array,
    pretext: Mapping[str, Any],
) -> jax.Array:
    """Draws the patches that either pass hides of each clip.

    Args:
        model: whose patches they are.
        keys: `[b]`, of the clips.
        pretext: settings, see `DEFAULTS`.

    Returns:
        int32 `[b, 2, k]`.
    """
    of_passes = jax.vmap(lambda key: jax.random.split(key, len(PASSES)))(keys)
    hidden = patch_masks.draw(
        of_passes.reshape(-1),
        model.patches,
        pretext["part"],
        pretext["masks"],
        pretext["sides"],
    )
    return hidden.reshape(len(keys), len(PASSES), -1)


def measure(
    predicted: jax.Array, true: jax.Array, pretext: Mapping[str, Any]
) -> dict[str, jax.Array]:
    """Says of each clip how well its hidden patches were predicted.

    Args:
        predicted: `[b, 2, k, v]`, of both passes.
        true: the same of the patches themselves.
        pretext: settings, see `DEFAULTS`.

    Returns:
        `pretext_accuracy`, `nce` and `mse`, `[b]` each.
    """
    nce, accuracy = pretext_losses.info_nce(
        predicted[:, 0], true[:, 0], pretext["nce_over"]
    )
    mse = pretext_losses.patch_mse(predicted[:, 1], true[:, 1])
    return {"pretext_accuracy": accuracy, "nce": nce, "mse": mse}
