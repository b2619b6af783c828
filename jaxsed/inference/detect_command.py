"""Detects sound events in files and folders, of any length, format and rate.

Results go to --out, in the folder structure of the inputs: for `street/a.wav` the files
street/a.wav.tsv (or .csv, .json, .audacity.txt, .raven.txt), with --report the picture
street/a.wav.png, with --scores the frame scores scores/street/a.tsv (--scores-format npz
for large files), which `jaxsed evaluate` reads. detections.tsv holds the events of all
files, problems.txt what was wrong.

Started again with the same --out, files that are finished and unchanged are skipped.
detections.tsv has files of earlier runs too, if model, threshold and post-processing were
the same.

Exit status: 0 all went well; 3 some files could not be used or were cut off, the rest
was done; 1 nothing could be done.
"""

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

from jaxsed.errors import InputError, check_known

# Named here again because importing the writers takes numpy.
FORMATS = ("tsv", "json", "csv", "audacity", "raven")
SHOWN_PROBLEMS = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `jaxsed detect`."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="FILE_OR_DIR", help="what to listen to"
    )
    parser.add_argument(
        "--weights",
        required=True,
        metavar="DIR_OR_NAME",
        help="model folder, e.g. RUN/model, or a name from `jaxsed weights list`, "
        "e.g. BEATs_strong_1",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for results"
    )
    parser.add_argument(
        "--format",
        default="tsv",
        metavar="A,B",
        help=f"any of {','.join(FORMATS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="P",
        help="an event's scores are greater than this (default: %(default)s)",
    )
    parser.add_argument(
        "--postprocess",
        metavar="NAME_OR_FILE",
        help="median, hear, sebb, or what `jaxsed tune` wrote (default: the model's "
        "postprocess.json, else the one it was evaluated with, else median)",
    )
    parser.add_argument(
        "--median",
        type=float,
        metavar="SECONDS",
        help="width of the median filter, 0 = off, instead of the model's own "
        "post-processing (default of median: 0.48)",
    )
    parser.add_argument(
        "--min-seconds",
        type=float,
        metavar="SECONDS",
        help="leave shorter events out (default: 0, of hear 0.125)",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=0.2,
        metavar="PART",
        help="part of a window shared with the next, 0 to 0.9 (default: %(default)s)",
    )
    parser.add_argument("--scores", action="store_true", help="write frame scores")
    parser.add_argument(
        "--scores-format",
        choices=("tsv", "npz"),
        default="tsv",
        help="tsv: sed_scores_eval's; npz: float16, small (default: %(default)s)",
    )
    parser.add_argument("--report", action="store_true", help="draw a picture a file")
    parser.add_argument(
        "--events", metavar="TSV", help="true events, for pictures; implies --report"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=8,
        metavar="N",
        help="windows computed at a time (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs `jaxsed detect`; returns its exit status.

    Raises:
      InputError: Nothing could be done.
    """
    # All that can be refused is refused before the model is loaded.
    from jaxsed.audio.windows import WindowPlan
    from jaxsed.evaluation.postprocess import choose, refuse_unused
    from jaxsed.inference import inputs

    formats = _formats(args.format)
    asked = args.postprocess, args.median, args.min_seconds, args.threshold
    choose(*asked)
    refuse_unused(args.postprocess, args.median, args.min_seconds)
    WindowPlan(1, overlap=args.overlap)
    picture = args.report or bool(args.events)
    if picture:
        from jaxsed.inference import pictures

        pictures.require_matplotlib()
    if args.out.exists() and not args.out.is_dir():
        raise InputError(f"--out={args.out} is a file; give a folder")
    if args.events and not os.path.isfile(args.events):
        raise InputError(
            f"--events {args.events} is no file; give a table with the columns filename, "
            "onset, offset, event_label, or what `jaxsed prepare own` takes"
        )
    files, problems = inputs.find(args.inputs)

    from jaxsed.inference import compile_cache
    from jaxsed.inference import detector as detectors
    from jaxsed.inference.results import Options, Results

    compile_cache.enable()
    detector = detectors.load(
        args.weights, batch_size=args.batch_size, overlap=args.overlap
    )
    _print_model(args.weights, detector)
    truth = None
    if args.events:
        truth = _truth(args.events, detector.vocabulary, files)
        problems += truth.problems
    options = Options(
        formats=formats,
        postprocessing=choose(*asked, detector.postprocessing),
        scores=args.scores_format if args.scores else None,
        picture=picture,
    )
    results = Results(args.out, detector, options, files, truth)
    return _work(results, files, problems)


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(
        dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    )
    for name in names:
        check_known("--format", name, FORMATS)
    if not names:
        raise InputError(f"--format is empty: give any of {','.join(FORMATS)}")
    return names


def _truth(table: str, vocabulary, files):
    """Returns the true events by the names of the files; refuses what may mean several."""
    from jaxsed.evaluation import truth_files
    from jaxsed.labels.clip_names import clip_path, paths_meant

    truth = truth_files.read_paths(table, vocabulary)
    wholes = {
        clip_path(file.name): clip_path(os.path.abspath(file.path)) for file in files
    }
    try:
        meant = paths_meant(wholes, truth.events)
    except InputError as error:
        raise InputError(f"{table}: {error}") from error
    if not meant:
        truth.problems.append(
            f"{table}: no line is of any of these files; it has "
            f"{next(iter(truth.events))!r}, they are called {next(iter(wholes))!r}"
        )
    return truth._replace(events={name: truth.events[meant[name]] for name in meant})


def _print_model(folder: str, detector) -> None:
    from jaxsed.weights import fresh

    description = detector.description
    print(
        f"model {folder}: {description['encoder']}, {len(detector.labels)} classes of "
        f"{detector.vocabulary.name}, stage {description['stage']}, licence "
        f"{description['licence']}",
        file=sys.stderr,
    )
    heads = fresh.guessing_heads(description)
    if heads:
        print(
            f"warning: its {' and '.join(heads)} was never trained, so what it detects is "
            f"chance; train it on labels of frames first (--config.init={folder})",
            file=sys.stderr,
        )


def _work(results, files, problems: list[str]) -> int:
    """Processes all files, says how it went, and returns the exit status."""
    from tqdm import tqdm

    from jaxsed.inference.pictures import clock

    n_done = n_skipped = 0
    unfound = []  # (best score, what it was) of files in which nothing was detected
    n_events = 0
    # Ctrl-C too leaves the tables of all that was finished.
    with contextlib.ExitStack() as at_end:
        at_end.callback(lambda: results.write_tables(problems))
        bar = at_end.enter_context(tqdm(files, unit="file", disable=None))
        for file in bar:
            if results.is_finished(file):
                n_skipped += 1
                problems += filter(None, [results.earlier_problem(file)])
                continue

            def show(seconds, name=file.name):
                if not bar.disable and time.time() > bar.last_print_t + bar.mininterval:
                    bar.set_postfix_str(f"{name[-40:]} {clock(seconds)}")

            done = results.process(file, show)
            if isinstance(done, str):
                problems.append(done)
                continue
            if done.problem:
                problems.append(done.problem)
            n_done += 1
            n_events += done.n_events
            if not done.n_events:
                unfound.append((done.best_score, done.best))
    print(f"{_count(n_done, 'file')} done, {_count(n_events, 'event')}", end="")
    print(f"; {n_skipped} were finished already" if n_skipped else "", end="")
    print(f": {results.table}")
    if n_others := results.n_of_other_settings:
        print(
            f"the table leaves out {_count(n_others, 'file')} detected here earlier with "
            "another model, threshold or post-processing"
        )
    if unfound:
        threshold = results.options.postprocessing.threshold
        print(
            f"no event above the threshold {threshold:g} in "
            f"{len(unfound)} of them; best score there: {max(unfound)[1]}"
        )
    return _conclude(problems, n_done + n_skipped, results)


def _conclude(problems: list[str], n_usable: int, results) -> int:
    if not problems:
        return 0
    count = _count(len(problems), "problem")
    print(f"{count}, listed in {results.problems}:", file=sys.stderr)
    for problem in problems[:SHOWN_PROBLEMS]:
        print(f"  {problem}", file=sys.stderr)
    if len(problems) > SHOWN_PROBLEMS:
        print(f"  and {len(problems) - SHOWN_PROBLEMS} more", file=sys.stderr)
    return 3 if n_usable else 1


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
