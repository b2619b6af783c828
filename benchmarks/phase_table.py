"""The tables of `benchmarks.coarse_to_fine`, from whatever results are there."""

import functools
import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks import phase_sounds
from benchmarks.page import table
from benchmarks.phase_cells import BASELINE, METHODS, VARIANTS, Case, Cells, Variant
from jaxsed.models import sed
from jaxsed.stages.cost import clip_operations

CLIP_SECONDS = 10.0
N_CLASSES = 20  # of the heads that are counted; what they cost is next to nothing
TARGETS = {"weak": "clip", "strong": "frames"}  # what the loss looks at


@functools.cache
def operations(case: Case, compression: str) -> int:
    """Returns the operations of a clip's forward pass, as the paper counts them."""
    model = sed.build(case.encoder, N_CLASSES, head=case.head, compression=compression)
    return clip_operations(model, TARGETS[case.stage], CLIP_SECONDS).total


def costs(
    case: Case, variant: Variant, stop: tuple[int, int], seconds: Mapping[str, float]
) -> np.ndarray:
    """Returns operations and seconds of a training up to a step of its last phase.

    Args:
        case: what is trained.
        variant: how.
        stop: phase, from 1, and step in it.
        seconds: of a step at each compression.
    """
    lengths = variant.lengths(case.steps)
    phase, step = stop
    taken = (*lengths[: phase - 1], step)
    per_step = [
        (operations(case, name), seconds[name]) for name in variant.compressions
    ]
    return np.array(taken) @ np.array(per_step[:phase], float)


def best(evaluations: Sequence[Sequence[float]]) -> tuple[int, int, float]:
    """Returns the evaluation with the highest quality, the first of equals."""
    return max(evaluations, key=lambda found: found[2])


def first_above(
    evaluations: Sequence[Sequence[float]], quality: float
) -> tuple[int, int, float] | None:
    """Returns the first evaluation of the last phase above a quality."""
    last = evaluations[-1][0]
    passing = (e for e in evaluations if e[0] == last and e[2] > quality)
    return next(passing, None)


def rows(cells: Cells, name: str, case: Case, n_seeds: int) -> Iterator[list[str]]:
    """Yields the lines of a case's table: one a variant that has any cell."""
    seconds = cells.get(name, "seconds")
    baseline = [cells.get(name, BASELINE.title, seed) for seed in range(n_seeds)]
    baseline = [found for found in baseline if found]
    if not baseline or not seconds:
        return
    peaks = [best(found) for found in baseline]
    quality = statistics.mean(peak[2] for peak in peaks)
    spent = np.mean([costs(case, BASELINE, p[:2], seconds) for p in peaks], axis=0)
    for variant in VARIANTS:
        runs = [cells.get(name, variant.title, seed) for seed in range(n_seeds)]
        runs = [found for found in runs if found]
        if not runs:
            continue
        final = [found[-1][2] for found in runs]
        whole = whole_costs(case, variant, seconds)
        whole /= whole_costs(case, BASELINE, seconds)
        yield [
            variant.title,
            spread(final),
            *(f"{part:.2f}" for part in whole),
            spread([best(f)[2] for f in runs]),
            *(
                ["", "", ""]
                if variant == BASELINE
                else savings(case, variant, runs, quality, spent, seconds)
            ),
        ]


def whole_costs(
    case: Case, variant: Variant, seconds: Mapping[str, float]
) -> np.ndarray:
    """Returns operations and seconds of a training with all of its steps."""
    lengths = variant.lengths(case.steps)
    return costs(case, variant, (len(lengths), lengths[-1]), seconds)


def savings(case, variant, runs, quality, spent, seconds) -> list[str]:
    """Returns how many runs pass the baseline, and what those save, as cells."""
    passing = [first_above(found, quality) for found in runs]
    saved = [
        100 * (1 - costs(case, variant, found[:2], seconds) / spent)
        for found in passing
        if found
    ]
    counted = f"{len(saved)} of {len(runs)}"
    if not saved:
        return [counted, "-", "-"]
    operations_saved, time_saved = np.array(saved).T
    return [counted, spread(operations_saved, 0), spread(time_saved, 0)]


def transfer_rows(cells: Cells, name: str, n_seeds: int) -> Iterator[list[str]]:
    """Yields a line a method: quality untrained, at C=4, and carried to 2 and 1."""
    for method in METHODS:
        runs = [cells.get(name, method, seed) for seed in range(n_seeds)]
        runs = [found for found in runs if found]
        if runs:
            yield [method, *(spread(column) for column in zip(*runs, strict=True))]


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Returns mean and standard deviation; of one value the value alone."""
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values):.{digits}f}"


def report(
    cells: Cells,
    cases: Mapping[str, Case],
    transfers: Mapping[str, Case],
    n_seeds: int,
) -> str:
    """Returns the measured part of the page."""
    parts = []
    for name, case in cases.items():
        tables = list(case_tables(cells, name, case, n_seeds))
        if tables:
            title = f"### {name}: {case.encoder}, {case.stage}, {case.steps} steps\n"
            parts += [title, *tables]
    for name, case in transfers.items():
        if lines := list(transfer_rows(cells, name, n_seeds)):
            header = ("carried over", "untrained", f"{case.steps} steps at C=4")
            title = f"### {name}: {case.encoder}, {case.metric} on single sounds"
            title += f" (chance: {phase_sounds.chance():.2f})\n"
            parts += [title, table((*header, "carried to C=2", "to C=1"), lines)]
    return "\n".join(parts)


def case_tables(cells: Cells, name: str, case: Case, n_seeds: int) -> Iterator[str]:
    """Yields the tables of a case for which there are results."""
    if lines := list(rows(cells, name, case, n_seeds)):
        header = ("training", f"{case.metric} at the end", "operations", "time")
        header += ("best", "pass the baseline", "operations saved, %", "time saved, %")
        yield table(header, lines)
    if seconds := cells.get(name, "seconds"):
        yield step_table(case, seconds)


def step_table(case: Case, seconds: Mapping[str, float]) -> str:
    """Returns what a training step costs beside one without compression."""
    whole = operations(case, "none"), seconds["none"]
    lines = [
        [
            name,
            f"{operations(case, name) / whole[0]:.3f}",
            f"{of_step / whole[1]:.2f}",
            f"{1e3 * of_step:.0f}",
        ]
        for name, of_step in seconds.items()
    ]
    return table(("compression", "operations", "time of a step", "ms"), lines)
