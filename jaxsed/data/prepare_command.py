"""Turn a data set on disk into the form that training reads.

  jaxsed prepare audioset_strong SRC --out DIR

writes DIR/train and DIR/eval (those splits SRC has). Sound files of any rate, channel
count and format that libsndfile reads (wav, flac, ogg, opus, mp3, ...) are checked and
stored as they are; nothing is re-encoded. Partial copies of a data set are normal: what
is missing is counted, per class, in manifest.json. Everything that was wrong is listed in
problems.tsv, and what was done about it is said at the end.

Stopped at any moment, the same command goes on where it was. Run again after more sound
files have arrived, it adds them.

LAYOUT audioset_strong: SRC holds audioset_train_strong.tsv, audioset_eval_strong.tsv,
mid_to_display_name.tsv as released, optionally audioset_SPLIT_durations.tsv, and in any
sub-folders sound files called by segment id or YouTube id, with or without a Y in front.

Exit status: 0 nothing was wrong; 3 finished, but something was wrong; 1 nothing could
be done.
"""

import argparse
import os
from pathlib import Path

LAYOUTS = ("audioset_strong",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `jaxsed prepare`."""
    parser.add_argument("layout", choices=LAYOUTS, metavar="LAYOUT", help=LAYOUTS[0])
    parser.add_argument("source", type=Path, metavar="SRC", help="the data set")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where to write"
    )
    parser.add_argument(
        "--splits", metavar="A,B", help="splits to prepare (default: all that SRC has)"
    )
    parser.add_argument(
        "--vocabulary",
        metavar="NAME_OR_JSON",
        help="classes of all splits: the name of a shipped list or a JSON file "
        "(default: those each split uses)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: %(default)s)",
    )
    parser.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="files a split (default: one for every 512 clips, or up to 8)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs `jaxsed prepare`; returns its exit status.

    Raises:
      InputError: Nothing could be done.
    """
    from jaxsed.data.layouts import audioset_strong as layout
    from jaxsed.data.prepare import prepare
    from jaxsed.errors import InputError
    from jaxsed.labels import vocab

    if not args.source.is_dir():
        raise InputError(f"{args.source} is not a folder; expected the data set")
    vocabulary = vocab.load(args.vocabulary) if args.vocabulary else None
    splits = _splits(args.splits, args.source, layout)
    sources = [
        layout.read(args.source, split, vocabulary, exclude=args.out)
        for split in splits
    ]
    # A copy of one split only is normal, unless the other one was asked for.
    may_skip = args.splits is None and any(source.has_audio for source in sources)
    anything_wrong = False
    for source in sources:
        if may_skip and not source.has_audio:
            anything_wrong = True
            print(f"{source.split}: left out, none of its clips has a sound file")
            continue
        manifest = prepare(
            source,
            args.out / source.split,
            workers=args.workers,
            n_shards=args.shards,
            progress=_progress(source.split),
        )
        print(_summary(manifest, args.out / source.split))
        anything_wrong |= bool(manifest["problems"])
    return 3 if anything_wrong else 0


def _splits(asked: str | None, source: Path, layout) -> list[str]:
    from jaxsed.errors import InputError

    if asked is None:
        splits = layout.available_splits(source)
        if not splits:
            expected = " or ".join(
                layout.table_path(source, split).name for split in layout.SPLITS
            )
            raise InputError(f"{source} holds neither split; expected {expected}")
        return splits
    splits = [split.strip() for split in asked.split(",") if split.strip()]
    unknown = [split for split in splits if split not in layout.SPLITS]
    if unknown or not splits:
        raise InputError(f"--splits {asked!r}; expected {','.join(layout.SPLITS)}")
    return list(dict.fromkeys(splits))


def _progress(split: str):
    from tqdm import tqdm

    # disable=None: no bar where there is no terminal.
    return lambda shards, total: tqdm(
        shards, desc=f"prepare {split}", total=total, unit="shard", disable=None
    )


def _summary(manifest: dict, folder: Path) -> str:
    from jaxsed.data.problems import KINDS
    from jaxsed.data.records import PROBLEMS

    classes = manifest["classes"]
    lines = [
        f"{folder}: {manifest['clips']} of {manifest['clips_listed']} clips, "
        f"{manifest['seconds'] / 3600:.2f} h, "
        f"{sum(entry['events'] for entry in classes)} events in "
        f"{sum(entry['clips'] > 0 for entry in classes)} of {len(classes)} classes"
    ]
    for kind, count in manifest["problems"].items():
        lines.append(f"  {count:>7} {kind:<16} {KINDS[kind]}")
    if manifest["problems"]:
        lines.append(f"  listed in {folder / PROBLEMS}")
    return "\n".join(lines)
