"""AST on clip labels, with the settings that its authors have for each data set.

    python -m jaxsed.main --config=configs/ast.py:data=esc50 --workdir=runs/ast_esc50

on every host of a pod, with a workdir that all of them see:

    python -m jaxsed.main --multihost --config=... --workdir=... (docs/clusters.md)

Arguments: `data` (audioset, audioset_balanced, vggsound, voxceleb, kinetics_sounds, esc50,
speech_commands), `folder` (of `jaxsed prepare`; data/NAME), `stride` (10: patches overlap,
as released; 16: they do not, as in From Coarse to Fine; 0: that of the paper named below),
`init` (a model to start from; by default `imagenet`), `seed`, `lr`, `epochs`, `batch`,
`clips` (an epoch). `lr=0`, `epochs=0`, `batch=0` and `clips=0` are the paper's. Its batches
are small: on 8 devices give `batch=96,lr=8e-5`, or make do with fewer devices. Of
`jaxsed prepare audioset_weak ... --splits balanced_train,eval`, audioset_balanced takes
`folder=FOLDER` and `--config.data.train=FOLDER/balanced_train`.

Expected, in % (mAP for AudioSet, else accuracy):

    audioset           45.9   AST README; 44.30 with stride=16 (From Coarse to Fine)
    audioset_balanced  34.7   AST README, with labels enhanced by PSLA; less without
    esc50              88.7   from ImageNet (Gong et al. 2021, table 4)
                       95.6   from AudioSet: init=MODEL,lr=1e-5; mean of five folds
    speech_commands    98.1   35 words (AST README)
    vggsound           49.40  stride=16 (From Coarse to Fine, table 2), as what follows
    voxceleb           41.90
    kinetics_sounds    62.92

Settings: `egs/*/run*.sh`, `src/traintest.py` and `src/dataloader.py` of YuanGongND/ast for
the first four; From Coarse to Fine, section 3.2, for the others: AudioSet's, 20 epochs,
without mixup and averaging (and without balanced sampling, as they are balanced). Where
loss and statistics are stated nowhere, they are those of the authors' later recipes
(VGGSound: BCE, VoxCeleb: CE); Kinetics-Sounds takes AudioSet's. What differs here:
every clip is filled up to AudioSet's 1024 frames, where the originals have a table of
positions for 512 (ESC-50) and 128 (Speech Commands); ESC-50 is one fold a run; and mean
and mixup are taken of the 10, 5 or 1 s that are cut out, not of the whole file. In training
these are cut from a random place of what is longer, as VoxCeleb's utterances are, where
the originals take its beginning.

Cost: docs/plan.md.
"""

import dataclasses

from ml_collections import ConfigDict

from configs import common
from jaxsed.errors import check_known
from jaxsed.frontends.presets import PRESETS
from jaxsed.schedules import by_epoch, stairs

ENCODERS = {10: "ast", 16: "ast_s16"}
IMAGENET = {10: "AST_imagenet", 16: "AST_imagenet_s16"}  # DeiT's, made to fit
WARMUP_STEPS, WARMUP_EVERY = 1000, 50
MIX_ALPHA = 10.0
MASKED_BINS = 48


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How AST is trained on a data set.

    Attributes:
        clips: of an epoch, about; as the data set was released.
        lr: learning rate of the full epochs.
        batch: clips a step.
        epochs: how long.
        stairs: first epoch (from 0) that is slower, epochs between two such, factor.
        loss: `bce` or `ce`.
        metrics: first the one it is judged by.
        frontend: preset with the data set's statistics.
        stride: mel frames and bins from patch to patch.
        seconds: of a clip.
        masked_frames: bound of the mask over time.
        masked_bins: of that over frequency.
        mixup: probability of mixing a clip with another one.
        warmup: whether the rate rises first.
        balanced: whether clips of rare classes are drawn more often.
        averaged: epochs at the end whose models are averaged; 0: none.
        noise: whether noise is added and clips are rolled by up to 10 frames.
    """

    clips: int
    lr: float = 1e-5
    batch: int = 12
    epochs: int = 20
    stairs: tuple[int, int, float] = (2, 1, 0.5)
    loss: str = "bce"
    metrics: tuple[str, ...] = ("accuracy", "map")
    frontend: str = "ast"
    stride: int = 16
    seconds: float = 10.0
    masked_frames: int = 192
    masked_bins: int = MASKED_BINS
    mixup: float = 0.0
    warmup: bool = True
    balanced: bool = False
    averaged: int = 0
    noise: bool = False


AUDIOSET = Recipe(
    clips=2_000_000,
    epochs=5,
    metrics=("map", "auc", "d_prime"),
    stride=10,
    mixup=0.5,
    balanced=True,
    averaged=5,
)
RECIPES = {
    "audioset": AUDIOSET,
    "audioset_balanced": dataclasses.replace(
        AUDIOSET,
        clips=22_000,
        lr=5e-5,
        epochs=25,
        stairs=(10, 5, 0.5),
        balanced=False,
        averaged=20,
    ),
    "vggsound": Recipe(clips=183_730, frontend="ast_vggsound"),
    "voxceleb": Recipe(clips=138_361, loss="ce", frontend="ast_voxceleb"),
    "kinetics_sounds": Recipe(clips=20_000),
    "esc50": Recipe(
        clips=1_600,
        lr=1e-4,
        batch=48,
        epochs=25,
        stairs=(5, 1, 0.85),
        loss="ce",
        frontend="ast_esc50",
        stride=10,
        seconds=5.0,
        masked_frames=96,
        masked_bins=24,
        warmup=False,
    ),
    "speech_commands": Recipe(
        clips=84_843,
        lr=2.5e-4,
        batch=128,
        epochs=30,
        stairs=(5, 1, 0.85),
        frontend="ast_speech_commands",
        stride=10,
        seconds=1.0,
        masked_frames=48,
        mixup=0.6,
        warmup=False,
        noise=True,
    ),
}


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = common.arguments(
        text,
        data="audioset",
        folder="",
        stride=0,
        init="imagenet",
        seed=0,
        lr=0.0,
        epochs=0,
        batch=0,
        clips=0,
    )
    check_known("data", given.data, RECIPES)
    recipe = RECIPES[given.data]
    epochs = given.epochs or recipe.epochs
    config = common.training("weak")
    config.seed = given.seed
    stride = given.stride or recipe.stride
    check_known("stride", str(stride), map(str, ENCODERS))
    config.init = IMAGENET[stride] if given.init == "imagenet" else given.init
    config.model.encoder = ENCODERS[stride]
    config.model.frontend = recipe.frontend
    config.model.head = "tokens"
    config.clip_loss = recipe.loss
    config.batch_size = given.batch or recipe.batch
    folder = given.folder or f"data/{given.data}"
    config = common.full_size(config, folder, epochs, given.clips or recipe.clips)
    epoch_steps = config.steps // epochs
    config.every.evaluate = epoch_steps
    config.average.last = recipe.averaged
    config.eval.metrics = recipe.metrics
    config.eval.clip_seconds = config.data.clip_seconds = recipe.seconds
    optimise(config, recipe, given.lr, epochs, epoch_steps)
    augment(config, recipe)
    return config


def optimise(
    config: ConfigDict, recipe: Recipe, lr: float, epochs: int, epoch_steps: int
) -> None:
    """Sets torch's Adam with its weight decay, a warm-up and stairs."""
    factors = stairs(epochs, *recipe.stairs)
    config.optim.update(
        max_lr=lr or recipe.lr,
        schedule="table",
        table=by_epoch(factors, epoch_steps),
        warmup_steps=WARMUP_STEPS * recipe.warmup,
        warmup_every=WARMUP_EVERY,
        l2_penalty=5e-7,
        beta1=0.95,
    )


def augment(config: ConfigDict, recipe: Recipe) -> None:
    """Sets how clips are drawn, mixed with others and masked."""
    if recipe.balanced:
        config.data.sampling = "balanced"
        config.data.importance = "clip_counts"
    # In the loader, as the other clip is any of the data set, rare classes or not.
    config.data.wavmix_probability = recipe.mixup
    config.data.wavmix_alpha = MIX_ALPHA
    config.data.wavmix_major = False
    preset = PRESETS[recipe.frontend]
    mel_frames = preset.n_mel_frames(round(recipe.seconds * preset.sample_rate))
    config.augment.specaugment_probability = 1.0
    config.augment.specaugment_time_part = recipe.masked_frames / mel_frames
    config.augment.specaugment_frequency_bins = recipe.masked_bins
    config.augment.specaugment_fill = preset.padding
    if recipe.noise:
        config.augment.noise_probability = 1.0
        config.augment.time_roll_probability = 1.0
        config.augment.time_roll_reach = 10 / mel_frames
        config.augment.time_roll_snap = False
