"""Does training from coarse to fine reach the baseline's quality for less?

    python -m benchmarks.coarse_to_fine --workdir=runs/coarse_to_fine [--minutes 30]
        [--cases clip_tiny frame_tiny clip_mid frame_mid carried_ast] [--seeds 3]
        [--scale 1] [--only fshift_4-1]

Scenes from the recordings in the package; clip labels (`weak`), and frame labels with
distillation from an ensemble (`strong`), for tiny encoders and one of middle size. A
cell is one training of one seed: the baseline, one of five methods of compression in
phases 4-1, 2-1 or 4-2-1, or phases without compression (1-1), which tell what beginning
optimiser and schedule anew does by itself. All take the baseline's number of steps.

Three things are measured: quality after the last step; what it costs in the last phase
to pass the best evaluation of the baseline (the paper's protocol, section 3.3), in
operations and in the time of steps that are timed side by side; and, of AST trained on
scenes of one sound each, accuracy right after weights are carried over, C=4 -> 2 -> 1,
without a step of training, on other scenes of the same recordings.

Cells are done one by one, those of the first seed first; what is there is not done
again, so it can be stopped at any moment. Several processes may share the work: on a CPU,
one for each core. After `--minutes` no new cell is begun. Writes what there is into
`docs/coarse_to_fine.md`, and every evaluation of every cell into `coarse_to_fine.json`
beside it, from where another workdir goes on. `--scale 0.25` has a quarter of the scenes
and of the steps, and needs a `--page` of its own.

Cost: one to two minutes a cell on 2 cores that do nothing else; 57 cells a case, 15 of AST.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from benchmarks import mid_size, page, phase_sounds, phase_table
from benchmarks.phase_cells import (
    CASES,
    METHODS,
    TRANSFERS,
    VARIANTS,
    Case,
    Cells,
    Variant,
    read_results,
    scaled,
    write_results,
)
from configs import coarse_to_fine as recipe
from jaxsed import locks
from jaxsed.data.records import PreparedData
from jaxsed.main import run_config
from jaxsed.stages import chain, phases, strong, train, weak
from jaxsed.stages.program import build_program
from jaxsed.stages.start import start_state
from jaxsed.stages.workdir import agree
from jaxsed.training import sharding
from jaxsed.training.logs import read_metrics

STAGES = {"weak": weak.run, "strong": strong.run}
TASKS = {"weak": weak.task, "strong": strong.task}
SOUNDS = {"train": "train", "eval": "validation"}  # splits of `phase_sounds`
ROUNDS = 5  # timed steps of each compression


def training(case: Case, setup: Path, seed: int) -> dict[str, Any]:
    """Returns the baseline's config."""
    config = recipe.miniature(
        case.stage, case.encoder, case.head, seed, case.steps, case.max_lr
    )
    return chain.resolve(config.to_dict(), setup)


def in_phases(
    case: Case,
    variant: Variant,
    setup: Path,
    seed: int,
    steps: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Returns the config of a cell.

    Args:
        case: what is trained.
        variant: how; the baseline is one phase.
        setup: folder of the data.
        seed: of the training.
        steps: of each phase; None for the variant's own.
    """
    factors = phases.read_factors(variant.phases)
    steps = steps or variant.lengths(case.steps)
    base = training(case, setup, seed)
    return phases.in_phases(base, variant.method, factors, steps)


def prepare(setup: Path, stages: Iterable[str], scale: float) -> None:
    """Makes what the stages train on; goes on where it was stopped."""
    with locks.in_turn(setup):
        for stage in stages:
            done = setup / f"{stage}.done"
            if not done.exists():  # its folders may be in use otherwise
                _prepare(setup, stage, scale)
                done.touch()
    # What one cell compiles, the others need not.
    jax.config.update("jax_compilation_cache_dir", str((setup / ".xla").resolve()))


def _prepare(setup: Path, stage: str, scale: float) -> None:
    for name, link in recipe.setup(stage, scale).items():
        run_config(chain.resolve(ConfigDict(link).to_dict(), setup), setup / name)


def train_cell(config: Mapping[str, Any], metric: str, folder: Path) -> list:
    """Trains; returns (phase, step within it, quality) of every evaluation."""
    phases.run(config, folder, STAGES)
    found, starts = [], {}
    for line in read_metrics(folder / "metrics.jsonl"):
        start = starts.setdefault(line["phase"], line["step"])
        if f"eval/{metric}" in line:
            found.append((line["phase"], line["step"] - start, line[f"eval/{metric}"]))
    return found


def transfer_cell(config: Mapping[str, Any], metric: str, folder: Path) -> list:
    """Trains at C=4 and carries the weights on: quality untrained, at C=4, 2 and 1.

    On other scenes of the recordings it was trained on: what is asked is how much of what
    a model knows is lost on the way.
    """
    links = phases.as_chain(config)
    for name, link in links["links"].items():
        link["every"]["evaluate"] = link["steps"]  # and before the first step
        if name != links["order"][0]:  # over before the first step
            link["until"] = {"metric": f"eval/{metric}", "value": -1.0}
    chain.run(links, folder, STAGES)
    values = [
        line[f"eval/{metric}"]
        for name in links["order"]
        for line in read_metrics(folder / name / "metrics.jsonl")
        if f"eval/{metric}" in line
    ]
    return [values[0], *values[-len(links["order"]) :]]


def time_steps(case: Case, setup: Path) -> dict[str, float]:
    """Returns seconds of a training step at each compression; they take turns."""
    compressions = sorted({c for v in VARIANTS for c in v.compressions})
    steps = {name: ready_step(case, setup, name) for name in compressions}
    seconds: dict[str, list[float]] = {name: [] for name in compressions}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(of_one) for name, of_one in seconds.items()}


def ready_step(case: Case, setup: Path, compression: str) -> Callable[[], object]:
    """Returns a compiled training step on a batch of the case's clips."""
    config = training(case, setup, seed=0)
    config["model"]["compression"] = compression
    task = TASKS[case.stage](config)
    data = PreparedData(config["data"]["train"])
    mesh = sharding.make_mesh(**config["mesh"])
    program = build_program(config, task.objective, len(data.vocabulary), mesh)
    batch = next(train.training_data(config, data, program.model, task.targets))
    batch = sharding.put_batch(batch, mesh)
    held = [start_state(config, program, data)]

    def step():
        held[0], measurements = program.train_step(held[0], batch, jax.random.key(0))
        return measurements["loss"].block_until_ready()

    step()
    return step


def work(cells: Cells, cases: Mapping[str, Case], n_seeds: int) -> None:
    """Does the cells that are missing, while there is time."""
    for name, case in cases.items():
        timing = functools.partial(time_steps, case, cells.setup)
        cells.make((name, "seconds"), lambda folder, timing=timing: timing())
    for seed in range(n_seeds):
        for name, case in cases.items():
            for variant in VARIANTS:
                config = in_phases(case, variant, cells.setup, seed)
                run = functools.partial(train_cell, config, case.metric)
                cells.make((name, variant.title, seed), run)


def carry(cells: Cells, cases: Mapping[str, Case], n_seeds: int, scale: float) -> None:
    """Does the cells of what is carried over, as `work`."""
    if not cases:
        return
    with locks.in_turn(cells.setup):
        sounds = phase_sounds.make(cells.setup / "single", scale)
    for seed in range(n_seeds):
        for name, case in cases.items():
            for method in METHODS:
                steps = (case.steps, 1, 1)
                variant = Variant(method, "4-2-1")
                config = in_phases(case, variant, cells.setup, seed, steps)
                train = config["training"]
                train["data"] |= {
                    split: str(sounds / of) for split, of in SOUNDS.items()
                }
                train["eval"]["metrics"] = (case.metric,)
                run = functools.partial(transfer_cell, config, case.metric)
                cells.make((name, method, seed), run)


def main() -> None:
    """Command line entry point."""
    every = [*CASES, *TRANSFERS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--cases", nargs="+", choices=every, default=every)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default="", help="cells with this in their name")
    default = Path(__file__).parent.parent / "docs" / "coarse_to_fine.md"
    parser.add_argument("--page", type=Path, default=default)
    args = parser.parse_args()
    mid_size.register()
    cases, transfers = (
        {name: scaled(case, args.scale) for name, case in known.items()}
        for known in (CASES, TRANSFERS)
    )
    chosen = {name: case for name, case in cases.items() if name in args.cases}
    carried = {name: case for name, case in transfers.items() if name in args.cases}
    agree(args.workdir, {"scale": args.scale})
    published = args.page.with_suffix(".json")
    known = read_results(published, args.scale)
    cells = Cells(args.workdir, 60 * args.minutes, args.only, known)
    prepare(cells.setup, [case.stage for case in chosen.values()], args.scale)
    work(cells, chosen, args.seeds)
    carry(cells, carried, args.seeds, args.scale)
    measured = phase_table.report(cells, cases, transfers, args.seeds)
    page.write(args.page, measured)
    write_results(published, args.scale, cells.results())
    print(measured)


if __name__ == "__main__":
    main()
