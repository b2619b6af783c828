"""Coarse to fine: a training as several, each at a finer time resolution than the last.

From Coarse to Fine (Feng et al., ICASSP 2024), section 2.2: the first phases learn from
sound that is compressed in time by a factor C, and so from C times fewer tokens; each
hands its weights, adapted to the finer grid, to the next, whose optimiser and schedule
begin anew. Here that is a chain: a phase is a link like any other, and any stage of any
encoder can be run in phases.

The paper does not say what a coarse phase does with masks of time. Masks are parts of a
clip here (`augment.time_mask_max_part` and the like), so that they hide the same seconds
in every phase: C times fewer frames of a spectrogram that is C times shorter, as the
authors' later code has it.
"""

import copy
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsed.atomic import write_atomically
from jaxsed.errors import InputError
from jaxsed.models.compression import parse
from jaxsed.stages import chain
from jaxsed.training import processes
from jaxsed.training.logs import is_done, read_metrics
from jaxsed.training.until import Until
from jaxsed.weights import files

# Section 3.3: the first of two phases takes "approximately 25%" of a training's epochs,
# 5 of 20 (AudioSet: 1 of 5). Section 3.4: those before the last of three take 30 %, 3
# and 3 of 20.
COARSE_PART_OF_TWO, COARSE_PART_OF_MORE = 0.25, 0.30
# Added to a phase's seed for each phase before it, or it would hear the clips of its
# first epoch in the order of the first epoch of the phase before.
SEED_STRIDE = 1000


def read_factors(text: str) -> tuple[int, ...]:
    """Reads `4-2-1`: the factor C by which each phase compresses time.

    Equal factors, as in `1-1`, are phases too: optimiser and schedule begin anew, and
    nothing else changes.

    Raises:
        InputError: it is not a list of whole numbers that never rise.
    """
    try:
        found = tuple(int(part) for part in text.split("-"))
    except ValueError:
        found = ()
    if not found or found[-1] < 1 or sorted(found, reverse=True) != list(found):
        raise InputError(
            f"phases={text}: expected falling factors of time compression joined by -, "
            "such as 4-1, 2-1 or 4-2-1"
        )
    return found


def lengths(total: int, n_phases: int) -> tuple[int, ...]:
    """Splits the length of a training over its phases by the paper's rule.

    Args:
        total: epochs or steps of the training.
        n_phases: how many phases; more than three share as three do.

    Raises:
        InputError: there is not even one for each phase.
    """
    n_coarse = n_phases - 1
    part = COARSE_PART_OF_TWO if n_coarse == 1 else COARSE_PART_OF_MORE
    first = [max(1, round(part * total / max(1, n_coarse)))] * n_coarse
    if total <= sum(first):
        raise InputError(
            f"a training of {total} cannot be split into {n_phases} phases: make it "
            "longer, or the phases fewer"
        )
    return (*first, total - sum(first))


def in_phases(
    training: Mapping[str, Any],
    method: str,
    factors: Sequence[int],
    steps: Sequence[int],
) -> dict[str, Any]:
    """Returns the config of a training in phases, of stage `phases`.

    Args:
        training: config of any stage that trains, as `configs/common.py` describes it.
            What each phase has of its own is taken out: `steps` and
            `model.compression`.
        method: of compression, see `models.compression`.
        factors: C of each phase, falling.
        steps: optimiser steps of each phase.
    """
    training = copy.deepcopy(dict(training))
    del training["steps"], training["model"]["compression"]
    return {
        "stage": "phases",
        "method": method,
        "factors": tuple(factors),
        "steps": tuple(steps),
        "training": training,
    }


def as_chain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the chain that a config of stage `phases` stands for.

    All phases have the training's settings. Of the first phase `init` is the
    training's; the others take all weights of the one before, heads included. Only the
    last may be ended by `until`: the value is that of the training at full resolution.

    Raises:
        InputError: no such method, or factors and steps do not belong together.
    """
    method, steps = config["method"], config["steps"]
    found = read_factors("-".join(map(str, config["factors"])))
    if len(steps) != len(found) or min(steps) < 1:
        raise InputError(
            f"steps={tuple(steps)}: expected one number, at least 1, for each of the "
            f"phases {'-'.join(map(str, found))}"
        )
    links: dict[str, Any] = {}
    for number, (factor, n_steps) in enumerate(zip(found, steps), start=1):
        link = copy.deepcopy(dict(config["training"]))
        spelt = "none" if factor == 1 else f"{method}-{factor}"
        compression = str(parse(spelt))
        link["model"] = {**link["model"], "compression": compression}
        link["steps"] = n_steps
        link["seed"] += SEED_STRIDE * (number - 1)
        if number > 1:
            before = list(links)[-1]
            link |= {"init": f"{chain.OWN_FOLDER}{before}/model", "carry": "all"}
            link["prior_bias"] = False  # it would overwrite the heads carried over
        if number < len(found):
            link["until"] = {"metric": "", "value": 0.0}
        links[f"phase{number}_c{factor}"] = link
    return {"stage": "chain", "order": tuple(links), "links": links}


def run(
    config: Mapping[str, Any], workdir: Path, stages: Mapping[str, chain.Stage]
) -> None:
    """Trains phase after phase, and leaves in `workdir` what any training leaves there.

    `model/` is the last phase's; `metrics.jsonl` has the lines of all phases, with
    `phase` (from 1) and steps counted on from phase to phase.

    Args:
        config: from `in_phases`.
        workdir: the phases' folder; phase k at factor C runs in `phaseK_cC`.
        stages: name -> stage.

    Raises:
        InputError: as `as_chain` and `chain.run`; or a phase's encoder cannot have its
            compression, or `until` of the training names a metric that its evaluations do
            not find.
    """
    phases = as_chain(config)
    _check_later_phases(phases)
    chain.run(phases, workdir, stages)
    processes.on_first(lambda: _gather(phases, workdir))


def _check_later_phases(phases: Mapping[str, Any]) -> None:
    """Refuses now what a phase would refuse when those before it have been trained."""
    from jaxsed.models import sed  # configs, which import this file, build no model

    for name in phases["order"]:
        link = phases["links"][name]
        sed.build(n_classes=1, **link["model"])
        logged = (f"eval/{metric}" for metric in link["eval"]["metrics"])
        Until(**link["until"]).check(logged)


def _gather(phases: Mapping[str, Any], workdir: Path) -> None:
    metrics = workdir / "metrics.jsonl"
    if is_done(metrics):
        return
    lines, before, done, taken = [], 0, {}, []
    for number, name in enumerate(phases["order"], start=1):
        *own, done = read_metrics(workdir / name / "metrics.jsonl")
        for line in (*own, done):
            line["step"] += before
            line["phase"] = number
        lines += own
        taken.append(done["step"] - before)
        before = done["step"]
    params, description = files.load_model(workdir / phases["order"][-1] / "model")
    description["provenance"]["phases"] = [
        {
            "compression": link["model"]["compression"],
            "steps": steps,  # fewer than asked for where `until` ended it
            "seed": link["seed"],
        }
        for link, steps in zip((phases["links"][n] for n in phases["order"]), taken)
    ]
    files.save_model(workdir / "model", params, description)
    text = "".join(json.dumps(line) + "\n" for line in (*lines, done))
    write_atomically(metrics, text)
    logging.info("%s: %s", workdir, _cost(workdir))


def _cost(workdir: Path) -> str:
    from jaxsed.stages import run_cost  # after a training, which configs do not import

    costs = run_cost.of_run(workdir)
    total = sum(cost.gflops for cost in costs), sum(cost.seconds for cost in costs)
    rows = [(cost.name, cost.gflops, cost.seconds) for cost in costs]
    return "; ".join(
        f"{name} {gflops / 1000:.3g} TFLOP forward, {seconds:.0f} s"
        for name, gflops, seconds in (*rows, ("all", *total))
    )
