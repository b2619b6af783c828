"""Step 3c: a student, the plain encoder, on frame labels and the ensemble's logits.

    python -m jaxsed.main --config=configs/student.py:model=beats,seed=0 \\
        --workdir=runs/student_beats_0

on every host of a pod, with a workdir that all of them see:

    python -m jaxsed.main --multihost --config=... --workdir=... (docs/clusters.md)

Arguments: `model` (atst_frame, beats, fpasst, m2d, asit), `seed`, `lr` (the paper
searched 7e-5, 1e-4, 3e-4, 6e-4, 1e-3, 3e-3), `data` (folder of
`jaxsed prepare audioset_strong`), `logits` (of `configs/ensemble.py`, or the released
HDF5 file with the ensemble's logits). Table I's ablations: "without KD" is
`configs/teacher.py:rnn=false`; "without RNN" is `logits` of the ensemble with
`rnn=false`; "without step 2" is `step2=false` with `logits` of that ensemble.
`released=true` does what the released code does where it differs from the paper:
20,000 warm-up steps, augmentation drawn once a batch, time rolling, median 0.36 s.

Coarse to fine, which neither paper has for students: `phases=2-1` (4-1, 4-2-1) and
`method=fshift` (avg_pool, max_pool, patch_bl, patch_pi), see configs/coarse_to_fine.py.
Labels and the ensemble's logits stay at 40 ms in every phase; the last phase, and the
model it leaves in `WORKDIR/model`, is the plain student. What all phases have in common
is then `--config.training.KEY`.

Cost: docs/plan.md. Expected PSDS1 (Table I): ATST-F 45.8, BEATs 46.5, fPaSST 45.4, M2D
46.3, ASiT 46.2; without RNN 45.7, 45.8, 45.3, 46.0, 46.1; without step 2 45.7, 46.3,
45.2, 44.9, 46.2.
"""

from ml_collections import ConfigDict

from configs import common
from jaxsed.augment import pipeline as augment
from jaxsed.evaluation.median import RELEASED_CODE_MEDIAN_SECONDS

EPOCHS = 120  # section III-A-b
KD_WEIGHT = 0.9  # released command (PretrainedSED README); the paper does not say


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = common.arguments(
        text,
        model="atst_frame",
        seed=0,
        lr=common.LEARNING_RATES[1],  # the released student command
        data="data/audioset_strong",
        logits="runs/ensemble/logits",
        step2=True,
        released=False,
        phases="1",
        method="",
    )
    config = common.student(given.model, given.seed)
    config = common.full_size(config, given.data, EPOCHS)
    config.init = common.start_of(given.model, given.step2)
    config.teacher.logits = given.logits
    config.teacher.weight = KD_WEIGHT
    config.optim.max_lr = given.lr
    if given.released:
        config.augment = ConfigDict(augment.RELEASED_STUDENT)
        config.optim.warmup_steps = 20_000
        config.eval.median_seconds = RELEASED_CODE_MEDIAN_SECONDS
    return common.in_phases(config, given.method, given.phases, EPOCHS)
