"""MAESTRO 5hr, piano notes, as HEAR lays it out: 185 recordings of two minutes, five folds.

    jaxsed prepare hear hear/tasks/maestro_5h-v3.0.0-full --out data/maestro
    python -m jaxsed.main --config=configs/maestro.py:model=m2d,fold=0 \\
        --workdir=runs/maestro_m2d_0

Arguments: `model` (atst_frame, beats, fpasst, m2d, asit), `weights` (ssl, weak, strong: the
rows of Table II; a folder; none), `mode` (frozen: a linear layer; finetune: everything),
`fold` (0 to 4: the test set), `seed`, `lr`, `optimizer` (adam, adamw), `drop_layers`,
`layer_decay`, `batch`, `steps`, `data` (folder of `jaxsed prepare hear`), `on` (validation, to
choose a rate by; eval, the test set). The score of the task is the mean of the five folds.

As HEAR splits it (hear-eval-kit, `data_splits_from_folds`): fold k is the test set, the next
one is for validation, and the other three are trained on.

Cost, a fold: 1,800 steps of 256 crops of 10 s, a sixth of a teacher's on AudioSet Strong.
Frozen: one pass over the recordings, then 3,000 steps of a linear layer.

Expected onset F-measure within 50 ms (Table II; mean of five folds) after step 1, step 2 and
the whole pipeline; notes are no sounds of AudioSet's, and pre-training helps one model
and not the other:

    frozen    ATST-F  4.6  7.6 21.9   BEATs 24.4 12.6  0.3   fPaSST  0.0 43.5 28.7
              M2D    30.3 25.1 22.3   ASiT   4.6  5.8  4.2
    finetune  ATST-F 50.0 52.9 55.0   BEATs 26.1 38.5 51.2   fPaSST 41.9 41.9 38.5
              M2D    35.9 36.6 34.9   ASiT  41.6 46.5 47.2

(BEATs' 0.3 as the copy at hand reads; it may be a misprint.) Settings are those of `configs/dcase2016.py`,
of whose script the authors released no twin for MAESTRO; scores are filtered over 150 ms and
detections last at least 50 ms, from the task's own `task_metadata.json`
(`event_postprocessing_grid`). The paper searched the learning rate for every cell.
"""

from ml_collections import ConfigDict

from configs import common, downstream
from jaxsed.errors import InputError

FOLDS = 5
# Three folds of 37 recordings, 12 crops each, in batches of 256.
EPOCH_STEPS = 6
EPOCHS = {"finetune": 300, "frozen": 500}  # as DCASE 2016's


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = downstream.arguments(text, data="data/maestro", fold=0)
    given.steps = given.steps or EPOCH_STEPS * EPOCHS.get(given.mode, 1)
    test, validation, *train = folds_from(given.fold)
    config = downstream.settings(given)
    common.several(config, (f"{given.data}/{fold}" for fold in train))
    held_out = {"validation": validation, "eval": test}[given.on]
    config.data.eval = f"{given.data}/{held_out}"
    if given.mode == "finetune":
        config.augment.update(wave_mixup_probability=0.5, mixup_probability=0.5)
    config.eval.metrics = ("onset_f1_50ms", "onset_offset_f1_50ms_20perc")
    config.eval.update(postprocess="hear", median_seconds=0.15, min_seconds=0.05)
    return config


def folds_from(first: int) -> list[str]:
    """Returns the folders of the folds: for testing, for validation, to train on.

    Raises:
        InputError: there is no such fold.
    """
    if not 0 <= first < FOLDS:
        raise InputError(f"fold={first}: expected 0 to {FOLDS - 1}")
    return [f"fold{(first + k) % FOLDS:02d}" for k in range(FOLDS)]
