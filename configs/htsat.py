"""HTS-AT on clip labels.

    python -m jaxsed.main --config=configs/htsat.py:data=audioset --workdir=runs/htsat

on every host of a pod, with a workdir that all of them see:

    python -m jaxsed.main --multihost --config=... --workdir=... (docs/clusters.md)

Arguments: `data` (audioset, vggsound, esc50), `folder` (of `jaxsed prepare`; data/NAME),
`init` (a model to start from: htsat_audioset_pretrain for esc50), `seed`, `lr`, `epochs`
(0: From Coarse to Fine's; the release has 100 for AudioSet), `batch`, `clips` (an epoch).

Settings of the released code (RetroCirce/HTS-Audio-Transformer: `config.py`,
`sed_model.py`, `data_generator.py`, `main.py`): AdamW on all parameters, gradients
clipped at a norm of 1, a rate that rises for two epochs and falls in steps, a queue that
holds one random clip of each class in turn, SpecAugment of two stripes each, and for
AudioSet spectrograms mixed by Beta(0.5, 0.5) whose labels are *not* mixed ("adding
noise"). AudioSet is evaluated every tenth of an epoch, and its model is the mean of the
best 15. Two things differ here: mixture and stripes come before the encoder's batch normalisation
instead of behind it (stripes are filled with the mean of each mel bin, which becomes what
its zero is), and the partner in a mixture is the next clip of the batch, not the one in
its mirror image. Not here: the released test of AudioSet averages ten copies of a clip
that are rolled by up to 0.14 s, ESC-50's clips are played twice to fill 10 s, and the
paper starts from a Swin transformer trained on ImageNet.

Cost: docs/plan.md. Expected (From Coarse to Fine, table 6): AudioSet mAP 46.92, VGGSound
accuracy 52.82. ESC-50 97.0 from AudioSet, mean of five folds (Chen et al. 2022).
"""

import dataclasses

from ml_collections import ConfigDict

from configs import common
from jaxsed.errors import check_known
from jaxsed.schedules import by_epoch

# `lr_rate` and `lr_scheduler_epoch` of `config.py`, as `sed_model.py` reads them: the
# epoch at which a rate ends belongs to it.
RATES = [0.02, 0.05] + 9 * [0.1] + 10 * [0.05] + 10 * [0.02] + [0.03]
MEL_FRAMES, MASKED_FRAMES, MASKED_BINS = 1001, 64, 8  # `model/htsat.py`
EVALUATIONS_AN_EPOCH = 10  # `val_check_interval` of `main.py`


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What differs between data sets.

    Attributes:
        clips: of an epoch, about; as the data set was released.
        epochs: From Coarse to Fine, section 3.2; of ESC-50 the released code's.
        batch: clips a step.
        loss: `bce` or `ce`.
        metrics: first the one it is judged by.
        queue: whether classes take turns; else clips do.
        mixes: whether spectrograms are mixed.
        averaged: how many of the best models are.
    """

    clips: int
    epochs: int
    batch: int = 128
    loss: str = "ce"
    metrics: tuple[str, ...] = ("accuracy", "map")
    queue: bool = False
    mixes: bool = False
    averaged: int = 0


RECIPES = {
    "audioset": Recipe(
        clips=2_000_000,
        epochs=25,
        loss="bce",
        metrics=("map", "auc", "d_prime"),
        queue=True,
        mixes=True,
        averaged=15,
    ),
    "vggsound": Recipe(clips=183_730, epochs=50),
    "esc50": Recipe(clips=1_600, epochs=100, batch=64),
}


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = common.arguments(
        text,
        data="audioset",
        folder="",
        init="",
        seed=0,
        lr=1e-3,
        epochs=0,
        batch=0,
        clips=0,
    )
    check_known("data", given.data, RECIPES)
    recipe = RECIPES[given.data]
    epochs = given.epochs or recipe.epochs
    config = common.training("weak")
    config.seed = given.seed
    config.init = given.init
    config.model.encoder = "htsat"
    config.model.head = "token_semantic"
    config.clip_loss = recipe.loss
    config.batch_size = given.batch or recipe.batch
    folder = given.folder or f"data/{given.data}"
    config = common.full_size(config, folder, epochs, given.clips or recipe.clips)
    epoch_steps = config.steps // epochs
    config.every.evaluate = epoch_steps
    if recipe.averaged:
        config.every.evaluate = max(1, epoch_steps // EVALUATIONS_AN_EPOCH)
    config.average.best = recipe.averaged
    config.average.metric = f"eval/{recipe.metrics[0]}"
    config.eval.metrics = recipe.metrics
    config.optim.update(
        name="adamw",
        max_lr=given.lr,
        schedule="table",
        table=by_epoch(RATES[:epochs], epoch_steps),
        warmup_steps=0,
        weight_decay=0.05,
        decay_rules=((".", 1.0),),
        clip_norm=1.0,
    )
    if recipe.queue:
        config.data.sampling = "class_queue"
    config.augment.update(
        specaugment_probability=1.0,
        specaugment_time_masks=2,
        specaugment_time_part=MASKED_FRAMES / MEL_FRAMES,
        specaugment_frequency_masks=2,
        specaugment_frequency_bins=MASKED_BINS,
        specaugment_fill_with_mean=True,
        mixup_probability=float(recipe.mixes),
        mixup_alpha=0.5,
        mixup_major=False,
        mixup_targets=False,
    )
    return config
