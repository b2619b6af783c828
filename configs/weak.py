"""Step 2: training on the clip labels of AudioSet (Weak).

    python -m jaxsed.main --config=configs/weak.py:model=asit --workdir=runs/weak_asit

on every host of a pod, with a workdir that all of them see:

    python -m jaxsed.main --multihost --config=... --workdir=... (docs/clusters.md)

Arguments: `model` (atst_frame, beats, fpasst, m2d, asit), `seed`, `lr`, `epochs` (of
100,000 clips drawn), `data` (folder of `jaxsed prepare audioset_weak`). The result is
`runs/weak_asit/model`: give it to step 3 with
`--config.init=runs/weak_asit/model`.

The authors did this step for fPaSST and ASiT alone and released their checkpoints
(`fpasst_weak`, `ASIT_weak`), which step 3 takes by default; for the others they took
public ones (section II-C). They refer to another paper for the routine and give no
settings: here it is step 3's teacher regime on clip labels, importance sampling and
mixup.

Cost: docs/plan.md. The authors' mAP: fPaSST 48.4, ASiT 49.8 (section II-C).
"""

from ml_collections import ConfigDict

from configs import common
from jaxsed.augment import pipeline as augment

EPOCH_CLIPS = 100_000  # what is drawn out of 2 million between two evaluations


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = common.arguments(
        text,
        model="asit",
        seed=0,
        lr=common.LEARNING_RATES[0],
        epochs=100,
        data="data/audioset_weak",
    )
    config = common.training("weak")
    config.seed = given.seed
    config.model.encoder = given.model
    config.init = common.start_of(given.model, step2=False)
    config.augment = ConfigDict(augment.TEACHER)
    config = common.full_size(config, given.data, given.epochs, EPOCH_CLIPS)
    config.data.sampling = "balanced"
    config.eval.metrics = ("map", "auc", "d_prime")
    config.optim.max_lr = given.lr
    return config
