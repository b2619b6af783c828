"""Any training from coarse to fine: in phases of falling time compression.

    python -m jaxsed.main --config=configs/coarse_to_fine.py:data=vggsound \\
        --workdir=runs/vggsound_4-1

and in miniature, on scenes from the recordings in the package (a chain of a baseline and
the same training in phases, minutes on 2 cores):

    python -m jaxsed.main --config=configs/coarse_to_fine.py:data=scenes,stage=strong \\
        --workdir=runs/c2f_scenes

Arguments: `data` (vggsound, audioset, voxceleb, kinetics_sounds, scenes), `folder` (of
`jaxsed prepare`; data/NAME), `model` (ast, without overlapping patches; htsat; or one of
the five of configs/weak.py, whose recipe is for AudioSet alone), `stage` (weak: clip
labels; strong: AudioSet's frame labels and an ensemble's logits, with `logits` and `model`
as in configs/student.py), `method` (fshift, avg_pool, max_pool, patch_bl, patch_pi),
`phases` (4-1, 2-1, 4-2-1), `until` (0.494: the last phase ends at the first evaluation
above that; 0: after its epochs), `epochs`, `lr` and `batch` (0: the recipe's), `seed`. The
recipes are configs/ast.py, htsat.py, weak.py and student.py; what all phases share is
changed by `--config.training.KEY`. Scenes are small, and have a model and settings of
their own.

From Coarse to Fine (Feng et al., ICASSP 2024), sections 3.3 and 3.4: of two phases the
first has a quarter of the epochs, of three the first two 30 % together: 5 + 15 and
3 + 3 + 14 of 20 (VGGSound, VoxCeleb, Kinetics-Sounds), 1 + 4 of 5 (AudioSet). Optimiser
and learning rate begin anew in every phase: a schedule that is a curve ends with the
phase, one that is a table of epochs (AST, HTS-AT, step 2) starts over and is cut off.

Expected (Tables 2 to 5; accuracy in %, AudioSet mAP). "Stops" is the epoch of the last
phase at which the baseline is passed (AudioSet: nearly), "saves" the part of the
baseline's operations that is saved then, in %; the baseline's own best epochs are 10, 9,
9 and 5. "Full" is what the last phase comes to without a budget.

    data (baseline)           fshift 4-1          patch_pi 2-1        fshift 4-2-1
                              stops saves  full   stops saves  full   stops saves  full
    vggsound (49.40)          3     58.31  52.31  3     46.11  53.17  2     58.68  53.51
    voxceleb (41.90)          4     42.56  43.22  3     40.12  47.63  4     31.87  43.81
    kinetics_sounds (62.92)   4     42.56  64.14  4     29.01  64.18  3     42.98  65.25
    audioset (44.30)          3     35.32  44.17  3     30.44  44.38  -     -      -

Other methods differ from these by a point or two of accuracy and an epoch or two. HTS-AT,
fshift 4-1: AudioSet 46.75 (baseline 46.92), VGGSound 52.98 (52.82), 21.13 % saved.
Frame-level students in phases are in no paper; docs/coarse_to_fine.md has miniatures.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import ast, common, demo, htsat, student, weak
from jaxsed.errors import InputError, check_known

DATA = ("vggsound", "audioset", "voxceleb", "kinetics_sounds", "scenes")
RECIPES_BY_DATA = ("ast", "htsat")  # models that have several
# In miniature: what there is to train with, and what is compared.
SCENES = {"train_clips": 400, "eval_clips": 120}
TEACHER_STEPS, STEPS, EVALUATIONS = 800, 1000, 10
METRICS = {"weak": "map", "strong": "psds1_macro"}


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = common.arguments(
        text,
        known_models=(*RECIPES_BY_DATA, *common.STARTS),
        data="",
        folder="",
        model="",
        stage="weak",
        method="",
        phases="4-1",
        until=0.0,
        epochs=0,
        lr=0.0,
        batch=0,
        seed=0,
        logits="",
    )
    check_known("stage", given.stage, METRICS)
    if not 0 <= given.until < 1:
        raise InputError(
            f"until={given.until:g}: expected a part of 1, such as 0.494 for 49.4 %"
        )
    if given.data == "scenes":
        _refuse_unused(given)
        return on_scenes(given)
    _choose_defaults(given)
    config, epochs = baseline(given)
    if given.until:
        metric = METRICS["strong"]
        if given.stage == "weak":
            metric = config.eval.metrics[0]
        config.until = ConfigDict({"metric": f"eval/{metric}", "value": given.until})
    return common.in_phases(config, given.method, given.phases, epochs)


def _choose_defaults(given: ConfigDict) -> None:
    """Chooses model and data where they are left open; refuses data without a recipe."""
    default_model = {"weak": RECIPES_BY_DATA[0], "strong": "atst_frame"}[given.stage]
    given.model = given.model or default_model
    if given.stage == "weak" and given.model in RECIPES_BY_DATA:
        given.data = given.data or DATA[0]
        check_known("data", given.data, DATA)
    else:
        given.data = given.data or "audioset"
        whose = f"data of {given.model}, stage {given.stage}"
        check_known(whose, given.data, ("audioset",))


def _refuse_unused(given: ConfigDict) -> None:
    for name in ("folder", "model", "epochs", "lr", "batch", "logits"):
        if given[name]:
            raise InputError(
                f"{name}={given[name]} does nothing with data=scenes: leave it out"
            )


def baseline(given: ConfigDict) -> tuple[ConfigDict, int]:
    """Returns the training that is split into phases, and its epochs."""
    shared = {name: given[name] for name in ("seed", "lr", "batch")}
    if given.stage == "strong":
        folder = given.folder or "data/audioset_strong"
        shared |= {"model": given.model, "data": folder, "logits": given.logits}
        config = student.get_config(_text(shared))
        epochs = given.epochs or student.EPOCHS
        config.steps = config.steps // student.EPOCHS * epochs
        return config, epochs
    shared["epochs"] = given.epochs
    if given.model in RECIPES_BY_DATA:
        if given.logits:
            raise InputError(
                f"logits={given.logits} does nothing with model={given.model}: its recipe "
                "has no teacher"
            )
        recipes = {"ast": ast, "htsat": htsat}[given.model]
        check_known(f"data of {given.model}", given.data, recipes.RECIPES)
        shared |= {"data": given.data, "folder": given.folder}
        if given.model == "ast":
            shared["stride"] = 16
        epochs = given.epochs or recipes.RECIPES[given.data].epochs
        return recipes.get_config(_text(shared)), epochs
    shared |= {"model": given.model, "data": given.folder, "logits": given.logits}
    return weak.get_config(_text(shared)), given.epochs or weak.EPOCHS


def _text(arguments: dict[str, Any]) -> str:
    """Returns the arguments of a recipe, without those that are left to it."""
    return ",".join(f"{name}={value}" for name, value in arguments.items() if value)


def on_scenes(given: ConfigDict) -> ConfigDict:
    """Returns a chain: scenes, a baseline, and the same training in phases."""
    encoder = {"weak": "tiny_fpasst", "strong": "tiny_atst_frame"}[given.stage]
    config = miniature(given.stage, encoder, "linear", given.seed, STEPS)
    epoch_steps = STEPS // EVALUATIONS
    links = setup(given.stage)
    links["baseline"] = config
    if given.until:
        metric = f"eval/{METRICS[given.stage]}"
        config.until = ConfigDict({"metric": metric, "value": given.until})
    links["phases"] = common.in_phases(
        config, given.method, given.phases, STEPS // epoch_steps
    )
    return ConfigDict({"stage": "chain", "order": tuple(links), "links": links})


def miniature(
    stage: str, encoder: str, head: str, seed: int, steps: int, max_lr: float = 1e-3
) -> ConfigDict:
    """Returns a training on the scenes of `setup`, to be a link beside them.

    Args:
        stage: `weak`, or `strong` with the logits of the ensemble.
        encoder: a small one.
        head: of its clip logits.
        seed: of the training.
        steps: of the baseline.
        max_lr: learning rate after the warm-up.
    """
    config = common.training("weak")
    if stage == "strong":
        config = common.student("atst_frame", seed)
        config.teacher.logits = "@/ensemble/logits"
        config.teacher.weight = demo.KD_WEIGHT
    config = demo.miniature(config, "atst_frame", seed)
    if stage == "weak":
        # All that step 2 mixes and hides keeps a tiny model from learning more than how
        # frequent classes are, in so few steps.
        config.augment.update(time_roll_probability=1.0, gain_probability=1.0)
    config.batch_size = 8
    config.model.encoder = encoder
    config.model.head = head
    config.eval.metrics = (METRICS[stage],)
    config.optim.max_lr = max_lr
    config.optim.warmup_steps = steps // 20
    config.steps = steps
    every = steps // EVALUATIONS
    config.every = ConfigDict({"log": every, "evaluate": every, "save": 100})
    return config


def setup(stage: str, scale: float = 1.0) -> dict[str, Any]:
    """Returns the links before a miniature: scenes and, for `strong`, an ensemble.

    Args:
        stage: of the miniature.
        scale: of the numbers of scenes and steps.
    """
    scenes = {"stage": "scenes", "seed": 0}
    scenes |= {name: round(scale * count) for name, count in SCENES.items()}
    links: dict[str, Any] = {"scenes": scenes}
    if stage == "strong":
        teacher = demo.miniature(common.teacher("atst_frame", 0), "atst_frame", 0)
        teacher.steps = round(scale * TEACHER_STEPS)
        teacher.every.evaluate = teacher.steps
        links |= {"teacher": teacher, "ensemble": demo.ensemble(["teacher"])}
    return links
