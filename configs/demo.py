"""The paper's three steps in miniature, on real recordings, on a laptop's CPU.

    make demo
    python -m jaxsed.main --config=configs/demo.py --workdir=runs/demo

Mixes 10 s scenes from the CC0 recordings in the package, prepares them as AudioSet
Strong is prepared, and runs: clip labels (step 2) -> two teachers of two kinds with
BiGRUs (step 3a) -> their ensemble (3b) -> a plain student that learns from labels and
ensemble, and the same student without the ensemble for comparison (3c). Evaluation is on
scenes made of recordings that no training scene holds.

Cost: about 5 minutes on 2 cores. Expected: see docs/demo.md for the table as measured.
Stopped at any moment, the same command goes on where it was.
"""

from ml_collections import ConfigDict

from configs import common
from jaxsed.errors import check_known

ENCODERS = ("fpasst", "atst_frame")

# A step of the convolutional fPaSST costs a CPU twice that of ATST-Frame.
STEPS = {
    ("weak", "fpasst"): 200,
    ("weak", "atst_frame"): 250,
    ("strong", "fpasst"): 450,
    ("strong", "atst_frame"): 750,
}

# The released student command trusts its 15 teachers with 0.9. Two teachers of a minute
# each know little that the labels do not say.
KD_WEIGHT = 0.5


def get_config(encoders: str = ",".join(ENCODERS)) -> ConfigDict:
    """Returns the chain: every link is a stage with a config of its own.

    Args:
        encoders: one teacher each; the last one is the student's, too.
    """
    kinds = encoders.split(",")
    for kind in kinds:
        check_known("encoder of the demo", kind, ENCODERS)
    student_kind = kinds[-1]
    links = {
        "scenes": {
            "stage": "scenes",
            "train_clips": 400,
            "eval_clips": 120,
            "seed": 0,
        }
    }
    for encoder in kinds:
        links[f"weak_{encoder}"] = miniature(common.training("weak"), encoder, seed=0)
    for seed, encoder in enumerate(kinds):
        teacher = miniature(common.teacher(encoder, seed), encoder, seed)
        teacher.init = f"@/weak_{encoder}/model"
        links[f"teacher_{encoder}"] = teacher
    links["ensemble"] = ensemble([f"teacher_{encoder}" for encoder in kinds])
    for name, logits in (("student", "@/ensemble/logits"), ("student_alone", "")):
        student = miniature(common.student(student_kind, seed=9), student_kind, seed=9)
        student.init = f"@/weak_{student_kind}/model"
        student.teacher.logits = logits
        student.teacher.weight = KD_WEIGHT
        links[name] = student
    links["summary"] = summary(kinds)
    return ConfigDict({"stage": "chain", "order": tuple(links), "links": links})


def miniature(config: ConfigDict, encoder: str, seed: int) -> ConfigDict:
    """Returns a training config cut down to a laptop: tiny twin, few steps."""
    config.seed = seed
    config.model.encoder = f"tiny_{encoder}"
    config.model.sequence_width = 64
    config.model.sequence_layers = 1
    config.prior_bias = True  # a few hundred steps should not go into "events are rare"
    config.data.train = "@/scenes/prepared/train"
    config.data.eval = "@/scenes/prepared/eval"
    config.data.cache_decoded_bytes = 2**29
    config.optim.max_lr = 1e-3
    config.optim.warmup_steps = 50
    config.batch_size = 4  # many small steps: the same clips teach more
    config.steps = STEPS[config.stage, encoder]
    config.every = ConfigDict({"log": 20, "evaluate": 250, "save": 100})
    if config.stage == "weak":
        config.eval.metrics += ("map",)
    return config


def ensemble(teachers: list[str]) -> ConfigDict:
    """Returns the ensemble of the teachers in these links."""
    config = common.ensemble({name: f"@/{name}/model" for name in teachers})
    config.data.train = "@/scenes/prepared/train"
    config.data.eval = "@/scenes/prepared/eval"
    config.batch_size = 32
    return config


def summary(kinds: list[str]) -> dict:
    """Returns the last link: the table, the curves, pictures of detections."""
    student_kind = kinds[-1]
    rows = (
        ("untrained", f"@/weak_{student_kind}", "first"),
        *((f"after weak ({e})", f"@/weak_{e}", "last") for e in kinds),
        *((f"teacher ({e} + BiGRU)", f"@/teacher_{e}", "last") for e in kinds),
        ("ensemble of the teachers", "@/ensemble", "last"),
        (f"student with KD ({student_kind})", "@/student", "last"),
        (f"student without KD ({student_kind})", "@/student_alone", "last"),
    )
    return {
        "stage": "summary",
        "rows": rows,
        "metrics": ("psds1", "psds1_macro", "pauroc"),
        "model": "@/student/model",
        "scenes": "@/scenes/audioset_strong",
        "pictures": 3,
        "threshold": 0.2,  # a minute of training makes nobody sure
    }
