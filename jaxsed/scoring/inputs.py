"""What `jaxsed evaluate` and `jaxsed tune` are given: scores, true events, durations."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxsed.errors import InputError

_JOURNAL = "journal.jsonl"  # of `jaxsed detect`


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say what is evaluated."""
    parser.add_argument(
        "scores",
        metavar="SCORES",
        help="folder of scores, or of a run or of detections that has them in `scores`",
    )
    parser.add_argument(
        "--events",
        required=True,
        metavar="TSV_OR_DIR",
        help="true events: a table, or a folder of `jaxsed prepare`",
    )
    parser.add_argument("--durations", metavar="TSV", help="clip lengths in seconds")
    parser.add_argument("--classes", metavar="TSV", help="all classes: MID and name")
    parser.add_argument(
        "--keep-empty-clips",
        action="store_true",
        help="also score clips without events (only false alarms can happen there)",
    )


class Inputs(NamedTuple):
    """What is evaluated.

    Attributes:
        scores: a `ScoreStore` or `ScoreTables`.
        truth: `truth_files.TrueEvents`.
        durations: clip lengths in seconds, those that are known.
        problems: one line for everything that was left out.
        missing: what a partial copy of prepared data lacks, a `MissingClips`; None of a
            table.
    """

    scores: Any
    truth: Any
    durations: Mapping[str, float]
    problems: list[str]
    missing: Any = None


def read(args: argparse.Namespace) -> Inputs:
    """Reads what the arguments of `configure` name.

    Raises:
        InputError: something is not there, or not usable at all.
    """
    from jaxsed.evaluation import truth_files

    scores = _open_scores(Path(args.scores))
    if Path(args.events).is_dir():
        found = _of_prepared(scores, args)
    else:
        classes = truth_files.read_classes(args.classes) if args.classes else None
        truth = truth_files.read_events(
            args.events, scores.vocabulary, classes, scores.ids
        )
        found = Inputs(scores, truth, {}, truth.problems)
    durations, problems = found.durations, found.problems
    if args.durations:
        durations, wrong = truth_files.read_durations(args.durations, scores.ids)
        problems = [*problems, *wrong]
    problems = [*getattr(scores, "problems", []), *problems]
    return found._replace(durations=durations, problems=problems)


def _of_prepared(scores, args: argparse.Namespace) -> Inputs:
    """Takes events, classes and durations from a prepared folder."""
    from jaxsed.data.joined import annotation_of, require_labels
    from jaxsed.data.layouts.source import FRAMES
    from jaxsed.data.records import MANIFEST, PreparedData
    from jaxsed.evaluation.result import MissingClips
    from jaxsed.evaluation.truth_files import TrueEvents
    from jaxsed.labels.clip_names import clip_id

    folder = Path(args.events)
    if not (folder / MANIFEST).exists():
        raise InputError(
            f"--events={folder}: expected a table, or the folder of a split that "
            f"`jaxsed prepare` wrote, such as {folder / 'eval'}"
        )
    if args.classes:
        raise InputError(
            f"--classes={args.classes}: {folder} has its own classes; leave it out"
        )
    data = PreparedData(folder)
    require_labels(data)
    if annotation_of(data) != FRAMES:
        raise InputError(
            f"--events={folder}: its labels are of whole clips and say no times; expected "
            "data with events"
        )
    spelled = {clip_id(own): own for own in scores.ids}
    ids = [spelled.get(clip_id(name), name) for name in map(str, data.ids)]
    events = {name: data.events(row) for row, name in enumerate(ids)}
    return Inputs(
        scores,
        TrueEvents(events, data.vocabulary, []),
        dict(zip(ids, map(float, data.durations))),
        [],
        MissingClips.from_manifest(data.manifest),
    )


def _open_scores(path: Path):
    from jaxsed.evaluation.score_tables import ScoreTables, files_of
    from jaxsed.evaluation.scores import ScoreStore

    detections = path.parent if path.name == "scores" else path
    if (detections / _JOURNAL).exists() and not (detections / "scores").is_dir():
        raise InputError(
            f"{detections}: detections without scores; run the same `jaxsed detect` again, "
            "with --scores"
        )
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; expected a folder of scores")
    if (path / "scores.json").exists():
        return ScoreStore(path)
    # Of a run or of detections, whose tables of events are no scores.
    path = path / "scores" if (path / "scores").is_dir() else path
    if not (path / "scores.json").exists() and files_of(path):
        return ScoreTables(path)
    return ScoreStore(path)
