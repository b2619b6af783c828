"""Step 2: training on the clip labels of AudioSet (Weak).

    python -m jaxsed.main --config=configs/weak.py:model=fpasst --workdir=runs/weak_fpasst

on every host of a pod, with a workdir that all of them see:

    python -m jaxsed.main --multihost --config=... --workdir=... (docs/clusters.md)

Arguments: `model` (atst_frame, beats, fpasst, m2d, asit), `seed`, `lr`, `epochs`, `clips`
(drawn an epoch), `batch`, `data` (folder of `jaxsed prepare audioset_weak`), `logits` (of
teachers: an ensemble with `--config.targets=clip`, or an HDF5 file with `filenames` and
`clip_logits [clips, 527]`). The result is `runs/weak_fpasst/model`: give it to step 3 with
`--config.init=runs/weak_fpasst/model`. In miniature, on the scenes of `make demo`:

    python -m jaxsed.main --workdir=runs/weak_tiny --config=configs/weak.py:\\
    model=tiny_fpasst,data=runs/demo/scenes/prepared,clips=400,batch=8,epochs=7,lr=2e-3 \\
        --config.prior_bias=True --config.augment.mixup_probability=0 \\
        --config.augment.wave_mixup_probability=0 \\
        --config.augment.specaugment_probability=0

in 350 steps goes from mAP 0.12 to 0.35 on the scenes it learns from. With epochs=40, 2,000
steps, to where it no longer grows on scenes of other recordings: from 0.18 to 0.35 (AUC 0.44
to 0.66), and with model=tiny_asit from 0.21 to 0.35 (AUC 0.50 to 0.68). With mixing and masks
1,000 steps are too few for it (0.17): they are made for millions of clips.

The authors did this step for fPaSST and ASiT alone and released their checkpoints
(`fpasst_weak`, `ASIT_weak`), which step 3 takes by default; for the others they took
public ones (section II-C). Of their settings they only say that they are those of their
earlier work on distillation to small models, EfficientAT. So here, from its
`ex_audioset.py` and `datasets/audioset.py`: importance sampling by 1000 / (100 + clips
with the label), 100,000 different clips an epoch; waveforms of every other clip mixed by
Beta(2, 2), spectrograms of all by Beta(0.3, 0.3), labels and teachers with them;
(1 - 0.9) BCE(labels) + 0.9 BCE(teachers); a rate that rises exponentially for 8 of 200
epochs, stays, falls along a line from the 80th to the 175th, and ends at a hundredth.
From PaSST, the transformer that fPaSST is made of, which trains alike: gains within
7 dB, masks of up to 48 mel bins and 192 frames, filled with zeros in log units, and
patchout (fPaSST: 300 of 1000 frames, as its code has it; here 75 of 250). Both roll
waveforms by up to 50 samples; here it is step 3's rolling, which is by seconds. Learning
rate and batch are the first ones of step 3: theirs are for models and batches of other
sizes, and it is one epoch of these clips in 391 steps.

Cost: docs/plan.md. The authors' mAP: fPaSST 48.4, ASiT 49.8 (section II-C).
"""

from ml_collections import ConfigDict

from configs import common
from jaxsed.augment import pipeline as augment
from jaxsed.frontends.presets import PRESETS
from jaxsed.schedules import by_epoch, ramps

EPOCH_CLIPS = 100_000  # EfficientAT, `epoch_len`; PaSST too
EPOCHS = 200  # and the parts of them that the learning rate rises and falls
UP, DOWN_START, DOWN, LAST = 8 / 200, 80 / 200, 95 / 200, 0.01
KD_WEIGHT = 0.9  # EfficientAT, `1 - kd_lambda`
MEL_FRAMES = 1000  # of 10 s

# What a log-mel of 0 becomes in the front-ends that take the natural logarithm:
# (x + 4.5) / 5 and (x - mean) / (2 deviation). Elsewhere masks are filled with 0.
FILLS = {"fpasst": 4.5 / 5.0, "asit": PRESETS["ast"].padding}
PATCHOUT = {"fpasst": 300 / MEL_FRAMES}  # fpasst.py, `frame_patchout`


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = common.arguments(
        text,
        model="fpasst",
        seed=0,
        lr=common.LEARNING_RATES[0],
        epochs=EPOCHS,
        clips=EPOCH_CLIPS,
        batch=common.BATCH_SIZE,
        data="data/audioset_weak",
        logits="",
    )
    kind = given.model.removeprefix("tiny_")
    config = common.training("weak")
    config.seed = given.seed
    config.batch_size = given.batch
    config.model.encoder = given.model
    config.init = common.start_of(given.model, step2=False)
    config = common.full_size(config, given.data, given.epochs, given.clips)
    config.data.sampling = "balanced_epoch"
    config.data.importance = "clip_counts"
    config.data.importance_offset_clips = 100.0
    config.augment = augmentation(kind)
    config.patchout = PATCHOUT.get(kind, 0.0)
    config.teacher = ConfigDict({"logits": given.logits, "weight": KD_WEIGHT})
    config.eval.metrics = ("map", "auc", "d_prime")
    parts = (max(round(part * given.epochs), 1) for part in (UP, DOWN_START, DOWN))
    factors = ramps(given.epochs, *parts, LAST)
    config.optim.update(
        max_lr=given.lr,
        schedule="table",
        table=by_epoch(factors, config.steps // given.epochs),
        warmup_steps=0,
    )
    return config


def augmentation(kind: str) -> ConfigDict:
    """Returns the settings for one of the five models."""
    return ConfigDict(
        {
            **augment.DEFAULTS,
            "gain_probability": 1.0,
            "gain_range_db": 7.0,
            "wave_mixup_probability": 0.5,
            "time_roll_probability": 1.0,
            "specaugment_probability": 1.0,
            "specaugment_time_part": 192 / MEL_FRAMES,
            "specaugment_fill": FILLS.get(kind, 0.0),
            "mixup_probability": 1.0,
            "mixup_alpha": 0.3,
            "vary_filterbank": True,
        }
    )
