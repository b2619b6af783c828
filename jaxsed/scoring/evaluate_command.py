"""Evaluates stored scores against true events: PSDS, pAUROC, F-measures, error rate.

SCORES is a folder of scores written by jaxsed (scores.json, logits.npy), or a folder
of one TSV a clip in the format of sed_scores_eval (onset, offset, one column a class), or
of the npz that `jaxsed detect --scores-format npz` writes.

EVENTS is a folder that `jaxsed prepare` wrote for a split, which has durations, too; or a
table of a line an event: filename, onset, offset, event_label, or as AudioSet Strong,
BirdNET or the tables of `jaxsed prepare own` call these columns; labels are MIDs or
names. DURATIONS has the columns filename and duration (seconds). Tabs, commas
and semicolons are recognised. Clips in sub-folders are called as `jaxsed prepare` and
`jaxsed detect` call them: day1/a.wav is day1-a.

Only classes that the model and the events share are scored; --classes adds those that
were listened for and never heard, of which every detection is wrong (for event_f1 only classes with events count). Rows that make no sense,
unknown classes and clips without scores are counted and left out. --out writes
per_class.tsv, summary.json and problems.txt.

Metrics of all thresholds: psds1, psds1_macro, psds2, psds2_macro, pauroc. Metrics of
detections at --threshold: onset_f1_50ms, onset_f1_200ms, onset_offset_f1_50ms_20perc,
event_f1, segment_1s_er, segment_1s_f1.

Post-processing: median (one width for all classes), hear (the same, with the event times
of the HEAR benchmark), sebb (sound event bounding boxes), or what `jaxsed tune` wrote: a
file, or a model folder with a postprocess.json.

  jaxsed evaluate runs/mine/scores --events data/mine/eval
  jaxsed evaluate scores --events eval.tsv --durations durations.tsv --out results

Exit status: 0 all was scored; 3 scored, but something was left out; 1 nothing could be
scored.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxsed.errors import InputError
from jaxsed.scoring import inputs

# Named here again because importing the evaluator takes numpy.
_METRICS = "psds1,psds1_macro,pauroc"
SHOWN_PROBLEMS = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `jaxsed evaluate`."""
    inputs.configure(parser)
    parser.add_argument(
        "--metrics", default=_METRICS, help="comma-separated (default: %(default)s)"
    )
    parser.add_argument(
        "--postprocess",
        default="median",
        metavar="NAME_OR_FILE",
        help="what happens to the scores (default: %(default)s)",
    )
    parser.add_argument(
        "--median",
        type=float,
        metavar="SECONDS",
        help="width of the median filter, 0 = off (default: 0.48, of hear 0.25)",
    )
    parser.add_argument(
        "--min-seconds",
        type=float,
        metavar="SECONDS",
        help="leave shorter detections out (default: 0, of hear 0.125)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="P",
        help="a detection's scores are greater than this (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="DIR", help="write the results there")


def run(args: argparse.Namespace) -> int:
    """Evaluates, prints and writes; returns the exit status.

    Raises:
        InputError: nothing could be evaluated.
    """
    from jaxsed.evaluation.evaluator import evaluate
    from jaxsed.evaluation.postprocess import choose, refuse_unused

    if args.out and Path(args.out).exists() and not Path(args.out).is_dir():
        raise InputError(f"{args.out}: is a file; --out needs a folder")
    chosen = choose(args.postprocess, args.median, args.min_seconds, args.threshold)
    refuse_unused(args.postprocess, args.median, args.min_seconds)
    scores, truth, durations, problems, missing = inputs.read(args)
    result = evaluate(
        scores,
        truth.events,
        truth.vocabulary,
        durations,
        [name.strip() for name in args.metrics.split(",") if name.strip()],
        postprocess=chosen,
        keep_empty_clips=args.keep_empty_clips,
        missing=missing,
    )
    print(result.format_table())
    for problem in problems[:SHOWN_PROBLEMS]:
        print(f"left out: {problem}", file=sys.stderr)
    if len(problems) > SHOWN_PROBLEMS:
        print(f"left out: {len(problems)} rows or files in all", file=sys.stderr)
    if args.out:
        _write(Path(args.out), result, problems)
    return 3 if problems or result.skipped else 0


def _write(out: Path, result, problems: Sequence[str]) -> None:
    from jaxsed.atomic import write_atomically
    from jaxsed.evaluation.result import write_summary, write_table

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--out={out} cannot be made ({error.strerror}): give another folder"
        ) from error
    write_table(result, out / "per_class.tsv")
    text = "".join(f"{problem}\n" for problem in problems)
    write_atomically(out / "problems.txt", text)
    write_summary(result, out / "summary.json")
