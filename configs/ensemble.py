"""Step 3b: the mean logits of 15 teachers for every training clip.

    python -m jaxsed.main --config=configs/ensemble.py --workdir=runs/ensemble

Takes the teachers `runs/teacher_MODEL_SEED/model` of `configs/teacher.py`. Arguments:
`runs` (the folder they are in), `models` and `seeds` (joined by `+`), `data`, and for
Table I's ablations `rnn=false` (teachers `teacher_MODEL_no_rnn_SEED`) and `step2=false`
(`teacher_MODEL_no_step2_SEED`).

Several hosts: `--multihost`, or independent jobs with
`--config.part=$SLURM_ARRAY_TASK_ID/16` (SLURM `--array=0-15`). A host that does not hold
15 teachers (12 GB): `--config.mesh.fsdp=4`, or `--config.teachers_at_once=5`.
`batch_size` is that of each process.

Writes `logits/`, which `configs/student.py:logits=runs/ensemble/logits` reads: 22.6 GB
for 100,911 clips. Expected PSDS1 of the ensemble (section III-C): 47.1; without RNN
46.2, without step 2 46.5.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = common.arguments(
        text,
        runs="runs",
        models="+".join(common.STARTS),
        seeds="0+1+2",
        data="data/audioset_strong",
        rnn=True,
        step2=True,
    )
    variant = ("" if given.rnn else "_no_rnn") + ("" if given.step2 else "_no_step2")
    names = [
        f"teacher_{model}{variant}_{seed}"
        for model in given.models.split("+")
        for seed in given.seeds.split("+")
    ]
    teachers = {name: f"{given.runs}/{name}/model" for name in names}
    config = common.ensemble(teachers)
    config.data.train = f"{given.data}/train"
    config.data.eval = f"{given.data}/eval"
    config.data.workers = common.WORKERS
    config.dtype = "bfloat16"
    return config
