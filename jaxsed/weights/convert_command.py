"""Makes a model folder of a PyTorch checkpoint, or a checkpoint of a model folder.

`jaxsed convert IN.pt OUT_DIR` takes the files released with PretrainedSED (BEATs, ATST-F,
fPaSST, M2D, ASiT, frame_mn; ssl, weak, strong; with BiGRU or BiLSTM), what its training
writes, and the originals behind them: BEATs, ATST-Frame, M2D, M2D-CLAP, ASiT, and DeiT
for fPaSST; and the files of AST (its authors' and those of the transformers library),
SSAST and HTS-AT. Model and stage are told by the keys.
`--model` decides where they leave a choice: `ssast` or `ssast_s10` for a fine-tuned SSAST,
which has AST's keys; `ast` or `ast_s16` to start AST from DeiT; `ast_s16` and `ssast_s10`
for AST and pre-trained SSAST with patches at other intervals than theirs. PyTorch is not
needed, and nothing that is in a checkpoint is executed.

`jaxsed convert --to-torch MODEL_DIR OUT.pt` writes the key layout that the original reads.
A model that was converted comes back bit by bit.

Nothing is written unless all went well; a model or file that is there already is replaced
only with --force.

Exit status: 0 converted; 1 refused, nothing was written.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxsed.errors import InputError

if TYPE_CHECKING:
    from jaxsed.weights.convert import Report

SHOWN = 3  # keys of each kind without --verbose


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `jaxsed convert`."""
    parser.add_argument("source", type=Path, metavar="IN", help="checkpoint (or model)")
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="folder to make (or checkpoint)"
    )
    parser.add_argument(
        "--to-torch",
        action="store_true",
        help="the way back: IN is a model folder, OUT a file",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="encoder, e.g. beats (default: told by the keys)",
    )
    parser.add_argument(
        "--stage",
        metavar="STAGE",
        help="ssl, weak or strong (default: told by the heads)",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="NAME_OR_JSON",
        help="class list of the heads (default: the file's, else audioset_strong_447)",
    )
    parser.add_argument(
        "--seed", type=int, help="of heads that have to be drawn (default: 0)"
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.add_argument("--verbose", action="store_true", help="list every key")


def run(args: argparse.Namespace) -> int:
    """Runs `jaxsed convert`; returns its exit status.

    Raises:
      InputError: Refused; nothing was written.
    """
    return _to_torch(args) if args.to_torch else _from_torch(args)


def _from_torch(args: argparse.Namespace) -> int:
    from jaxsed.weights.convert import convert_file

    seed = args.seed or 0
    if seed < 0:
        raise InputError(f"--seed={seed}: give 0 or more")
    if os.path.isfile(args.source / "model.json"):
        raise InputError(
            f"{args.source}: is a model already; for the way back --to-torch"
        )
    try:
        report = convert_file(
            args.source,
            args.out,
            model=args.model,
            stage=args.stage,
            vocabulary=args.vocabulary,
            seed=seed,
            force=args.force,
        )
    except OSError as error:
        raise InputError(
            f"{args.out}: cannot be written: {error.strerror or error}"
        ) from error
    _print_report(report, args.verbose)
    return 0


def _print_report(report: "Report", verbose: bool) -> None:
    sequence = report.sequence
    layers = f"{sequence.get('layers')} layers of width {sequence.get('width')}"
    model = report.encoder + (
        f" with {sequence['kind']} ({layers})" if sequence["kind"] != "none" else ""
    )
    place = " ".join(
        f"{what} {value!r}"
        for what, value in (("in", report.container), ("behind", report.prefix))
        if value
    )
    print(f"model    {model}, stage {report.stage}, {report.vocabulary}")
    print(_plain(f"file     {report.origin}{', keys ' + place if place else ''}"))
    print(f"licence  {report.licence}")
    print(f"size     {report.n_parameters:,} parameters")
    used = dict.fromkeys(report.used, "")
    _print_keys("used", used, verbose, counted_only=True)
    _print_keys("dropped", report.dropped, verbose)
    _print_keys("new", report.fresh, verbose)
    for note in report.notes:
        print(f"note     {_plain(note)}")
    print(f"written  {report.folder} in {report.seconds:.1f} s")
    print(f"next     {_next(report)}")


def _next(report: "Report") -> str:
    if report.heads_are_drawn:
        heads = " and ".join(report.drawn_heads)
        return (
            "train it: python -m jaxsed.main --config=... "
            f"--config.init={report.folder} (its {heads} cannot know a class yet)"
        )
    return f"jaxsed detect AUDIO --weights {report.folder} --out RESULTS"


def _to_torch(args: argparse.Namespace) -> int:
    from jaxsed.weights.convert_back import convert_back

    for name in ("model", "stage", "vocabulary", "seed"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name} has no meaning with --to-torch; leave it out")
    report = convert_back(args.source, args.out, force=args.force)
    print(f"model    {report.encoder}, released layout, {report.n_tensors} tensors")
    _print_keys("filled", report.filled, args.verbose)
    for head in report.left_out:
        print(f"note     {head} is left out: nothing has trained it")
    for note in report.notes:
        print(f"note     {note}")
    print(f"written  {report.out} in {report.seconds:.1f} s")
    return 0


def _print_keys(
    title: str, reasons: Mapping[str, str], verbose: bool, counted_only: bool = False
) -> None:
    """Prints keys by reason: how many, why, and the first of them."""
    groups: dict[str, list[str]] = {}
    for key, reason in reasons.items():
        groups.setdefault(reason, []).append(key)
    if not groups:
        print(f"{title:<9}nothing")
    for reason, keys in groups.items():
        print(f"{title:<9}{len(keys)}" + (f": {reason}" if reason else " tensors"))
        if verbose or not counted_only:
            _print_examples(keys, len(keys) if verbose else SHOWN)


def _print_examples(keys: Sequence[str], n_shown: int) -> None:
    for key in keys[:n_shown]:
        print(f"           {_plain(key)}")
    if len(keys) > n_shown:
        print(f"           ... and {len(keys) - n_shown} more (--verbose lists them)")


def _plain(key: str) -> str:
    from jaxsed.weights.mapping import printable

    encoding = sys.stdout.encoding or "utf-8"
    return printable(key).encode(encoding, "replace").decode(encoding)
