"""Step 3a: a teacher, encoder + BiGRU, on the frame labels of AudioSet Strong.

    python -m jaxsed.main --config=configs/teacher.py:model=beats,seed=0 \\
        --workdir=runs/teacher_beats_0

on every host of a pod, with a workdir that all of them see:

    python -m jaxsed.main --multihost --config=... --workdir=... (docs/clusters.md)

The ensemble needs seeds 0, 1 and 2 of all five models. Arguments: `model`
(atst_frame, beats, fpasst, m2d, asit), `seed`, `lr` (the paper searched 7e-5, 1e-4,
3e-4, 6e-4, 1e-3, 3e-3), `data` (folder of `jaxsed prepare audioset_strong`), and
Table I's ablations: `rnn=false`, `step2=false`. `released=true` does what the released
code does where it differs from the paper: its sampler without replacement, 20,000
warm-up steps, augmentation drawn once a batch, median filter 0.36 s, width 2048.

Cost: docs/plan.md. Expected PSDS1 (PretrainedSED README, "Teacher Model Performances"):
ATST-F 43.3, BEATs 45.8, fPaSST 43.3, M2D 44.1, ASiT 43.3. Without RNN, which is also
Table I's row "without KD": 41.8, 44.1, 40.7, 41.1, 40.9. Without step 2: 43.5, 34.4,
40.9, 43.8, 43.2.
"""

from ml_collections import ConfigDict

from configs import common
from jaxsed.augment import pipeline as augment
from jaxsed.evaluation.median import RELEASED_CODE_MEDIAN_SECONDS

EPOCHS = 30  # section III-A-b


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = common.arguments(
        text,
        model="atst_frame",
        seed=0,
        lr=common.LEARNING_RATES[0],  # the released default
        data="data/audioset_strong",
        rnn=True,
        step2=True,
        released=False,
    )
    config = common.teacher(given.model, given.seed)
    if not given.rnn:
        config.model.sequence = "none"
    config = common.full_size(config, given.data, EPOCHS)
    config.init = common.start_of(given.model, given.step2)
    config.optim.max_lr = given.lr
    if given.released:
        config.model.sequence_width = 2048
        config.data.sampling = "balanced_epoch"
        config.augment = ConfigDict(augment.RELEASED_TEACHER)
        config.optim.warmup_steps = 20_000
        config.eval.median_seconds = RELEASED_CODE_MEDIAN_SECONDS
    return config
