"""Lists, describes and fetches the released checkpoints.

    jaxsed weights list
    jaxsed weights show BEATs_strong_1
    jaxsed weights fetch BEATs_strong_1 ATST-F_weak

Files are looked for in --offline-dir (or the folders of $JAXSED_WEIGHTS_DIR), then in the
cache ($JAXSED_CACHE, or the system's cache folder), and fetched into the cache. A download
that breaks off goes on where it stopped when it is started again.

Exit status: 0 all went well; 3 some of the files could not be had; 1 none of them.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jaxsed.errors import InputError

if TYPE_CHECKING:
    from jaxsed.weights.zoo_entry import Entry


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `jaxsed weights`."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--offline-dir",
        type=Path,
        metavar="DIR",
        help="folder with files that need not be fetched (default: $JAXSED_WEIGHTS_DIR)",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", parents=[common], help="what there is, and what is here")
    for action, summary in (
        ("show", "all that is known of some of them"),
        ("fetch", "download some of them; prints their paths"),
    ):
        sub = actions.add_parser(action, parents=[common], help=summary)
        sub.add_argument(
            "names", nargs="+", metavar="NAME", help="as `list` shows them"
        )


def run(args: argparse.Namespace) -> int:
    """Runs `jaxsed weights`; returns its exit status.

    Raises:
      InputError: An unknown name, or nothing could be fetched.
    """
    from jaxsed.weights import zoo

    if args.action == "list":
        _print_list(args.offline_dir)
        return 0
    entries = [zoo.find(name) for name in args.names]
    if args.action == "show":
        print("\n\n".join(_description(entry, args.offline_dir) for entry in entries))
        return 0
    return _fetch(entries, args.offline_dir)


def _fetch(entries: "list[Entry]", offline_dir: Path | None) -> int:
    from jaxsed.weights import zoo

    failures = []
    for entry in dict.fromkeys(entries):
        try:
            path = zoo.fetch(entry, offline_dir)
        except InputError as error:
            failures.append(error)
            continue
        print(path)
        print(f"{entry.name}: licence {entry.licence.name}", file=sys.stderr)
    if failures and len(failures) == len(dict.fromkeys(entries)):
        for error in failures[:-1]:
            print(f"jaxsed weights: {error}", file=sys.stderr)
        raise failures[-1]
    for error in failures:
        print(f"jaxsed weights: {error}", file=sys.stderr)
    return 3 if failures else 0


def _print_list(offline_dir: Path | None) -> None:
    from jaxsed.weights import zoo
    from jaxsed.weights.zoo_entries import ENTRIES

    rows = [("NAME", "ENCODER", "STAGE", "PSDS1", "SIZE", "LICENCE", "HERE")]
    for entry in ENTRIES:
        path = zoo.local_path(entry, offline_dir)
        psds1 = f"{entry.psds1:.1f}" if entry.psds1 else "-"
        size_bytes = path.stat().st_size if path else entry.size_bytes
        licence = entry.licence.name.partition(" (")[0]
        here = str(path.parent) if path else "-"
        row = (entry.name, entry.encoder, entry.stage, psds1, _size(size_bytes))
        rows.append((*row, licence, here))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print(
        "\nPSDS1: AudioSet Strong, percent, as published. jaxsed weights show NAME: more"
    )


def _description(entry: "Entry", offline_dir: Path | None) -> str:
    from jaxsed.weights import zoo

    path = zoo.local_path(entry, offline_dir)
    lines = [
        ("name", ", also ".join((entry.name, *entry.aliases))),
        ("encoder", entry.encoder),
        ("stage", entry.stage),
        ("licence", f"{entry.licence.name}; {entry.licence.source}"),
        ("paper", entry.paper),
        ("PSDS1", f"{entry.psds1:.1f} on AudioSet Strong" if entry.psds1 else ""),
        ("size", f"{entry.size_bytes:,} bytes" if entry.size_bytes else "not known"),
        ("sha256", entry.sha256 or "recorded at the first fetch"),
        *(("download", url) for url in entry.urls),
        *(("browser", page) for page in entry.pages),
        ("note", entry.note),
        (
            "here",
            str(path) if path else f"no; goes to {zoo.cache_folder() / entry.file}",
        ),
    ]
    return "\n".join(f"{what:9} {value}" for what, value in lines if value)


def _size(size_bytes: int | None) -> str:
    return f"{size_bytes / 1e6:,.0f} MB" if size_bytes else "-"
