"""Step 1 without labels: SSAST's masked spectrogram patch modelling, from coarse to fine.

    python -m jaxsed.main --config=configs/ssast_pretrain.py:data=data/audioset_weak \\
        --workdir=runs/ssast

on every host of a pod, with a workdir that all of them see:

    python -m jaxsed.main --multihost --config=... --workdir=... (docs/clusters.md)

Arguments: `model` (ssast and ssast_frame, base size; ssast_deit_small; ssast_deit_tiny and
ssast_deit_tiny_frame; or tiny_ssast and tiny_ssast_frame, for a laptop), `data` (folder of
`jaxsed prepare`, of any layout, or several joined by `+`: labels are not read, and classes
may differ; clips of the first are held out), `phases` (4-1 as in From Coarse to
Fine; 1 for SSAST's own training; 2-1, 4-2-1), `method` (fshift, avg_pool, max_pool,
patch_bl, patch_pi), `masks` (released; clusters, without the released generator's bias;
single, which frames always have), `seed`, `lr`, `batch` (0: the released). A larger batch
takes fewer steps: the clips heard stay as many. What all phases share is changed by
`--config.training.KEY`, and with `phases=1` by `--config.KEY`.

The result is `runs/ssast/model`, which knows no classes. It starts a training on labels,
with AST's settings, as in From Coarse to Fine: `configs/ast.py:data=vggsound,init=runs/ssast/model`
and `--config.model.encoder=ssast`, the name it was pre-trained by; a linear probe is
`--config.optim.frozen='("^encoder/",)'` beside that; and `jaxsed convert --to-torch` gives
it back to the original code.

Settings: `src/pretrain/run_mask_*.sh` and `src/traintest_mask.py` of YuanGongND/ssast. The
rate halves when the accuracy on held-out clips has not risen in three evaluations. Lengths
are those of From Coarse to Fine, section 3.5: 800K steps of 24 clips, or 100K at C=4 and
500K at C=1. Where the two papers say nothing, here: at C the same part of the patches is
hidden (100 of 128 at C=4), in squares of as many patches; small takes base's settings; and
held-out clips have the same masks in every evaluation.

Expected after fine-tuning (From Coarse to Fine, table 6): 29.42 mAP on AudioSet-20K and
45.46 % on VGGSound from `phases=1`, 30.28 and 47.78 from `phases=4-1`, which saves 34.58 %
of the operations. The authors trained on AudioSet and LibriSpeech together:
`data=data/audioset_weak+data/librispeech`, the latter by `jaxsed prepare sounds`.

Cost: `jaxsed plan --config=configs/ssast_pretrain.py:phases=1 --topology=v5e:4x4`.
"""

import math

from ml_collections import ConfigDict

from configs import common
from jaxsed.stages import phases, pretrain

BASE = {"lr": 1e-4, "batch": 24}
TINY = {"lr": 5e-4, "batch": 120}
MODELS = {
    "ssast": BASE,
    "ssast_frame": BASE,
    "ssast_deit_small": BASE,
    "ssast_deit_tiny": TINY,
    "ssast_deit_tiny_frame": TINY,
}
SEVERAL = "+"  # between folders
RELEASED_BATCH = 24  # which steps are counted in
STEPS, COARSE_STEPS, FINE_STEPS = 800_000, 100_000, 500_000
EVALUATE_STEPS = 4000
WARMUP_STEPS, WARMUP_EVERY = 1000, 50


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = common.arguments(
        text,
        known_models=MODELS,
        model="ssast",
        data="data/audioset_weak",
        phases="4-1",
        method="",
        masks="",
        seed=0,
        lr=0.0,
        batch=0,
    )
    config = pretraining(given.model)
    config.seed = given.seed
    config.optim.max_lr = given.lr or config.optim.max_lr
    config.batch_size = given.batch or config.batch_size
    config.pretext.masks = given.masks or config.pretext.masks
    folders = given.data.split(SEVERAL)
    config.data.train, config.data.eval = (
        f"{folders[0]}/{s}" for s in ("train", "eval")
    )
    if len(folders) > 1:
        common.several(config, (f"{folder}/train" for folder in folders))
    config.data.workers = common.WORKERS
    config.model.dtype = "bfloat16"
    config.every = ConfigDict(
        {"log": 50, "evaluate": steps_of(EVALUATE_STEPS, config), "save": 500}
    )
    method, factors = common.phases_of(given.method, given.phases)
    if factors == (1,):
        config.steps = steps_of(STEPS, config)
        return config
    n_coarse = len(factors) - 1
    steps = [steps_of(COARSE_STEPS, config)] * n_coarse + [steps_of(FINE_STEPS, config)]
    return ConfigDict(phases.in_phases(config.to_dict(), method, factors, steps))


def pretraining(model: str) -> ConfigDict:
    """Returns SSAST's pre-training but for data and length; for other configs, too."""
    settings = MODELS.get(model, TINY)
    config = common.training("pretrain")
    config.model.encoder = model
    config.model.head = "masked_patches"
    config.batch_size = settings["batch"]
    config.optim.update(
        max_lr=settings["lr"],
        schedule="constant",
        warmup_steps=WARMUP_STEPS,
        warmup_every=WARMUP_EVERY,
        l2_penalty=5e-7,
        beta1=0.95,
    )
    config.plateau.metric = "eval/pretext_accuracy"
    config.eval = ConfigDict({"metrics": ("pretext_accuracy", "nce", "mse")})
    config.eval.batch_size = 2 * settings["batch"]
    config.pretext = ConfigDict(pretrain.DEFAULTS)
    if model.endswith("_frame"):
        config.pretext.masks = "single"
    return config


def steps_of(released_steps: int, config: ConfigDict) -> int:
    """Returns the steps in which a batch of another size hears as many clips."""
    return math.ceil(released_steps * RELEASED_BATCH / config.batch_size)
