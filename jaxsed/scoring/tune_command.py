"""Tunes the post-processing of each class on scores of validation data.

SCORES, EVENTS and DURATIONS are those of `jaxsed evaluate`, of data that the model was
not trained on and will not be tested on.

  class_medians  the width of each class's median filter
  sebb           how its sound event bounding boxes are made

The outcome is written to OUT, a file, or a model folder, which gets a postprocess.json:
`jaxsed detect` then uses it with this model, and `jaxsed evaluate --postprocess OUT`.

  jaxsed tune runs/a/scores --events data/a/validation --method sebb --out runs/a/model
  jaxsed tune runs/a/scores --events valid.tsv --method class_medians --out runs/a/model

Exit status: 0 tuned; 3 tuned, but something was left out; 1 nothing could be scored.
"""

import argparse
import sys
from pathlib import Path

from jaxsed.scoring import inputs
from jaxsed.scoring.evaluate_command import SHOWN_PROBLEMS


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `jaxsed tune`."""
    inputs.configure(parser)
    parser.add_argument(
        "--method",
        required=True,
        metavar="NAME",
        help="class_medians or sebb",
    )
    parser.add_argument(
        "--metric",
        default="psds1",
        help="that is to be high: psds1, psds2 or event_f1 (default: %(default)s)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="P",
        help="of detections, for event_f1 (default: %(default)s)",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE_OR_DIR", help="write the outcome there"
    )


def run(args: argparse.Namespace) -> int:
    """Tunes, prints and writes; returns the exit status.

    Raises:
        InputError: nothing could be tuned.
    """
    from jaxsed.errors import InputError
    from jaxsed.evaluation import postprocess, tuning

    out = Path(args.out)
    if not (out.is_dir() or out.parent.is_dir()):
        raise InputError(f"--out={out}: there is no folder {out.parent}")
    given = inputs.read(args)
    tuned = tuning.tune(
        args.method,
        given.scores,
        given.truth.events,
        given.truth.vocabulary,
        given.durations,
        args.metric,
        threshold=args.threshold,
        keep_empty_clips=args.keep_empty_clips,
    )
    file = out / postprocess.FILE_NAME if out.is_dir() else out
    postprocess.write(
        file,
        tuned.postprocessing,
        {"metric": args.metric, "scores": args.scores, "values": tuned.best},
    )
    for name, setting in tuned.postprocessing.classes.items():
        values = f"{tuned.first[name]:.4f} -> {tuned.best[name]:.4f}"
        print(f"{name}: {args.metric} {values} with {_text(setting)}")
    means = [sum(of.values()) / len(of) for of in (tuned.first, tuned.best)]
    print(
        f"mean of {len(tuned.best)} classes: {means[0]:.4f} -> {means[1]:.4f}: {file}"
    )
    for note in tuned.notes:
        print(f"note: {note}")
    for problem in given.problems[:SHOWN_PROBLEMS]:
        print(f"left out: {problem}", file=sys.stderr)
    if len(given.problems) > SHOWN_PROBLEMS:
        print(f"left out: {len(given.problems)} rows or files in all", file=sys.stderr)
    return 3 if given.problems or tuned.skipped else 0


def _text(setting) -> str:
    if isinstance(setting, float):
        return f"{setting:g} s"
    return ", ".join(f"{name} {value:g}" for name, value in setting._asdict().items())
