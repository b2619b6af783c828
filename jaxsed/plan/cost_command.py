"""Count the operations of a model's forward pass, and what coarse phases save of them.

    jaxsed cost ast_s16 --head tokens
    jaxsed cost ast_s16 --head tokens --compressions none,patch_pi-4 --xla
    jaxsed cost ast_s16 --head tokens --phases fshift-4:5,none:3 --baseline 10
    jaxsed cost --run runs/coarse

An operation is a multiplication of a matrix product or convolution, an attention score,
or an element that a LayerNorm gives, of one clip; `2x, G` is the unit of From Coarse to
Fine. --run tells what a run, or all in a folder of several, has cost so far, and its
wall time. docs/costs.md says more, and what XLA's own count adds.

Exit status: 0 counted; 1 refused.
"""

import argparse
import math
from pathlib import Path

from jaxsed.errors import InputError

FACTORS = (2, 4)  # those of the paper
TARGETS = ("clip", "frames")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `jaxsed cost`."""
    parser.add_argument(
        "encoder", nargs="?", metavar="ENCODER", help="such as ast_s16 or beats"
    )
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="folder of a run, instead of an encoder"
    )
    parser.add_argument(
        "--head", default="linear", metavar="NAME", help="(default: %(default)s)"
    )
    parser.add_argument("--sequence", default="none", metavar="NAME")
    parser.add_argument(
        "--classes", type=int, default=527, metavar="N", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--targets",
        choices=TARGETS,
        default=TARGETS[0],
        help="what the loss looks at (default: %(default)s)",
    )
    parser.add_argument(
        "--compressions",
        type=lambda text: tuple(filter(None, text.split(","))),
        metavar="A,B",
        help="such as none,fshift-4 (default: those of the phases, or else all that the "
        "encoder can have)",
    )
    parser.add_argument(
        "--xla", action="store_true", help="compile, and print XLA's own count as well"
    )
    parser.add_argument(
        "--phases",
        type=_phases,
        metavar="A:N,B:M",
        help="compression and length, in epochs, of each phase of a training",
    )
    parser.add_argument(
        "--baseline",
        type=_epochs,
        metavar="N",
        help="length, in epochs, of the training without compression to compare with",
    )


def _phases(text: str) -> list[tuple[str, float]]:
    parts = [part.rpartition(":") for part in text.split(",")]
    try:
        return [(name or "none", _epochs(length)) for name, _, length in parts]
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r}; expected compressions and epochs, such as fshift-4:5,none:3"
        ) from None


def _epochs(text: str) -> float:
    length = float(text)
    if not 0 < length < math.inf:
        raise argparse.ArgumentTypeError(f"{text}; expected a number above 0")
    return length


def run(args: argparse.Namespace) -> int:
    """Runs `jaxsed cost`; returns its exit status.

    Raises:
        InputError: an unknown name, phases without a baseline, or no run.
    """
    if (args.encoder is None) == (args.run is None):
        raise InputError("give an encoder, such as ast_s16, or a run: --run DIR")
    if args.run is not None:
        _print_run(args.run)
        return 0
    return _print_encoder(args)


def _print_run(workdir: Path) -> None:
    from jaxsed.stages.run_cost import of_run

    costs = of_run(workdir)
    rows = [["training", "compression", "clips", "2x, G a clip", "2x, T", "seconds"]]
    for cost in costs:
        numbers = f"{cost.clips:,}", f"{cost.per_clip.gflops:.2f}", _tera(cost.gflops)
        rows.append(
            [cost.name or ".", cost.compression, *numbers, f"{cost.seconds:.0f}"]
        )
    if len(costs) > 1:
        total = _tera(sum(cost.gflops for cost in costs))
        clips = f"{sum(cost.clips for cost in costs):,}"
        seconds = f"{sum(cost.seconds for cost in costs):.0f}"
        rows.append(["all", "", clips, "", total, seconds])
    _print_rows(rows)


def _tera(gflops: float) -> str:
    return f"{gflops / 1000:,.1f}"


def _print_encoder(args: argparse.Namespace) -> int:
    from jaxsed.models.masked_patches import MASKED_PATCHES
    from jaxsed.stages.cost import saved_percent

    if args.xla and args.head == MASKED_PATCHES:
        raise InputError(f"--xla is for models with classes, not --head {args.head}")
    if (args.phases is None) != (args.baseline is None):
        raise InputError(
            "--phases and --baseline belong together: give both or neither"
        )
    names = dict.fromkeys(
        [*_compressions(args), *(name for name, _ in args.phases or ())]
    )
    costs = {name: _counted(args, name) for name in names}
    _print_table(args, costs)
    if args.phases:
        phases = [(length, costs[name]) for name, length in args.phases]
        saved = saved_percent(phases, (args.baseline, costs["none"]))
        print(f"saves {saved:.2f} % of {args.baseline:g} epochs without compression")
    return 0


def _compressions(args: argparse.Namespace) -> list[str]:
    """Returns what to count; without compression first, which others are parts of."""
    from jaxsed.models.compression import METHODS

    if args.compressions or args.phases:
        return ["none", *(args.compressions or ())]
    names = ["none"]
    for method in METHODS:
        for factor in FACTORS:
            try:
                _model(args, f"{method}-{factor}")
            except InputError:  # not of this encoder
                continue
            names.append(f"{method}-{factor}")
    return names


def _model(args: argparse.Namespace, compression: str):
    from jaxsed.models import sed

    return sed.build(
        args.encoder,
        args.classes,
        sequence=args.sequence,
        head=args.head,
        compression=compression,
    )


def _counted(args: argparse.Namespace, compression: str):
    from jaxsed.models.masked_patches import MASKED_PATCHES
    from jaxsed.stages import pretrain
    from jaxsed.stages.cost import clip_operations

    model = _model(args, compression)
    if args.head != MASKED_PATCHES:
        return clip_operations(model, args.targets)
    task = pretrain.task({"model": {"head": args.head}, "pretext": {}})
    return clip_operations(model, None, inputs=task.inputs, draw=task.draw)


def _print_table(args: argparse.Namespace, costs: dict) -> None:
    from jaxsed.stages.cost import xla_flops

    titles = ["compression", "operations", "2x, G", "of none"]
    rows = [titles + ["XLA, G"] * args.xla]
    for name, found in costs.items():
        share = found.total / costs["none"].total
        rows.append([name, f"{found.total:,}", f"{found.gflops:.2f}", f"{share:.4f}"])
        if args.xla:
            flops = xla_flops(_model(args, name), args.targets)
            rows[-1].append(f"{flops / 1e9:.2f}")
    _print_rows(rows)


def _print_rows(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for first, *others in rows:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:]))
        print("  ".join([first.ljust(widths[0]), *cells]))
