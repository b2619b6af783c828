"""What post-processing does to the scores of models on the demo's scenes.

  python -m benchmarks.postprocessing DATA RUN/scores [RUN/scores ...]

DATA is the prepared folder whose clips the runs scored (`runs/demo/scenes/prepared/eval`).
Methods with settings for each class are tuned on one half of the clips and evaluated on
the other, and the other way round; every method is evaluated on the same halves. Values
are means over both halves and all runs, and of PSDS1 the standard deviation over the runs.

Expected: a width or boxes for each class gain where the validation data resemble the test
data, and none of it makes a weak model a good one.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxsed.data.records import PreparedData
from jaxsed.evaluation import evaluator, tuning
from jaxsed.evaluation.postprocess import Postprocessing
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.events import Event

METRICS = ("psds1_macro", "psds1", "psds2_macro", "event_f1", "onset_f1_200ms")
PLAIN = {
    "none": Postprocessing(median_seconds=0.0),
    "median 0.48 s": Postprocessing(),
    "hear": Postprocessing("hear", 0.25, 0.125),
    "sebb, the package's defaults": Postprocessing("sebb"),
}
TUNED = {"class_medians, tuned": "class_medians", "sebb, tuned": "sebb"}


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("scores", type=Path, nargs="+")
    parser.add_argument("--threshold", type=float, default=0.5)
    args = parser.parse_args(argv)
    data = PreparedData(args.data)
    halves = split(data)
    found = {name: [] for name in (*PLAIN, *TUNED)}
    for path in args.scores:
        store = ScoreStore(path)
        for name in found:
            values = [
                measured(
                    name, store, data, halves[1 - test], halves[test], args.threshold
                )
                for test in (0, 1)
            ]
            found[name].append(np.mean(values, axis=0))
    print_table(found)
    return 0


def split(data: PreparedData) -> tuple[dict[str, list[Event]], dict[str, list[Event]]]:
    """Returns the events of every second clip, and those of the others."""
    events = {clip: data.events(row) for row, clip in enumerate(data.ids)}
    ids = list(events)
    return tuple({clip: events[clip] for clip in ids[half::2]} for half in (0, 1))


def measured(
    name: str,
    store: ScoreStore,
    data: PreparedData,
    validation: Mapping[str, Sequence[Event]],
    test: Mapping[str, Sequence[Event]],
    threshold: float,
) -> list[float]:
    """Returns the metrics of one method on the test half."""
    chosen = PLAIN.get(name)
    durations = dict(zip(data.ids, data.durations))
    if chosen is None:
        method = TUNED[name]
        tuned = tuning.tune(
            method, store, validation, data.vocabulary, durations, progress=False
        )
        chosen = tuned.postprocessing
    result = evaluator.evaluate(
        store,
        test,
        data.vocabulary,
        durations,
        METRICS,
        postprocess=dataclasses.replace(chosen, threshold=threshold),
        progress=False,
    )
    return [result.summary[metric] for metric in METRICS]


def print_table(found: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Prints it in Markdown."""
    print("| post-processing | " + " | ".join(METRICS) + " |")
    print("|---|" + "---:|" * len(METRICS))
    for name, runs in found.items():
        means, spread = np.mean(runs, axis=0), np.std(runs, axis=0)
        cells = [f"{mean:.3f}" for mean in means]
        if len(runs) > 1:
            cells[0] += f" ± {spread[0]:.3f}"
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
