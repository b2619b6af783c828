"""Turn a data set on disk into the form that training reads.

  jaxsed prepare LAYOUT SRC --out DIR

writes DIR/train, DIR/validation and DIR/eval (those splits SRC has). Sounds of any
length, rate, channel count and format that libsndfile reads (wav, flac, ogg, opus, mp3,
...) are checked and stored as they are; nothing is re-encoded. Partial copies of a data
set are normal: what is missing is counted, per class, in manifest.json. Everything that
was wrong is listed in problems.tsv, and what was done about it is said at the end.

LAYOUT is how SRC is laid out (docs/prepare.md has examples):

  audioset_strong       audioset_train_strong.tsv, audioset_eval_strong.tsv and
                        mid_to_display_name.tsv as released; in any sub-folders sound
                        files called by segment id or YouTube id, with or without a Y
  audioset_weak         balanced_train_segments.csv, unbalanced_train_segments.csv,
                        eval_segments.csv as released; sound files as above
  audioset_hdf5         balanced_train_segments_mp3.hdf, unbalanced_train_... and eval_...
                        as PaSST's scripts write them (needs h5py); with the tables of
                        audioset_strong beside them, events instead of labels of clips
  huggingface_parquet   *.parquet with the sounds inside, and labels of clips or events
                        (needs pyarrow)
  vggsound              vggsound.csv as released; sound files called by YouTube id and
                        start: ID_000030, or as other scripts do
  voxceleb1             iden_split.txt as released; SPEAKER/VIDEO/UTTERANCE.wav
  kinetics_sounds       train.csv, val.csv, test.csv of Kinetics as released, of which
                        the 32 classes are taken; sound files ID_000030_000040
  speech_commands       testing_list.txt, validation_list.txt as released; WORD/*.wav
  clips                 any folder of sounds, with a table (.csv, .tsv) of files and
                        labels, one or several a clip
  desed                 metadata/... and audio/... of DCASE task 4: strongly and weakly
                        labelled and synthetic clips, validation and public evaluation
  hear                  a task of event detection in HEAR's layout: task_metadata.json,
                        labelvocabulary.csv, train.json ... or fold00.json ..., 48000/...
  own                   any folder of recordings, with a table (.csv, .tsv) of events, or
                        label files of Audacity or Raven beside the recordings
  sounds                any folder of recordings without labels, for pre-training

Stopped at any moment, the same command goes on where it was. Run again after more sounds
have arrived, it adds them.

On several hosts that share a file system, run the same command on each, with --host 0/4,
1/4, 2/4 and 3/4, or by srun, which says so itself. Each writes its share, and the last
to finish completes the folder. Should a host fail, start its command again, or the
command without --host.

Exit status: 0 nothing was wrong; 3 finished, but something was wrong; 1 nothing could
be done.
"""

import argparse
import os
from pathlib import Path

from jaxsed.data import table_arguments

LAYOUTS = (
    "audioset_strong",
    "audioset_weak",
    "audioset_hdf5",
    "huggingface_parquet",
    "vggsound",
    "voxceleb1",
    "kinetics_sounds",
    "speech_commands",
    "clips",
    "desed",
    "hear",
    "own",
    "sounds",
)
_CLASSES_IN_SUMMARY = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `jaxsed prepare`."""
    parser.add_argument(
        "layout", choices=LAYOUTS, metavar="LAYOUT", help=", ".join(LAYOUTS)
    )
    parser.add_argument("source", type=Path, metavar="SRC", help="the data set")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where to write"
    )
    parser.add_argument(
        "--splits",
        metavar="A,B",
        help="splits to prepare (default: train, validation and eval, those that SRC "
        "has; of desed and hear all, folds too); of AudioSet's clips also "
        "balanced_train and unbalanced_train",
    )
    parser.add_argument(
        "--annotation",
        choices=("frames", "clips"),
        help="events with times or labels of whole clips, where SRC has both "
        "(default: frames)",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="NAME_OR_JSON",
        help="classes of all splits: the name of a shipped list or a JSON file "
        "(default: those each split uses; the 527 of AudioSet for labels of clips)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=_cpus(),
        metavar="N",
        help="processes (default: as many as CPUs may be used, %(default)s)",
    )
    parser.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="files a split (default: one for every 512 clips, or up to 8)",
    )
    parser.add_argument(
        "--host",
        metavar="I/N",
        help="this is host I (from 0) of N that run the same command (default: as srun "
        "says, else 0/1)",
    )
    table_arguments.configure(parser)


def _cpus() -> int:
    # A task of a cluster may use some of its host's only.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(args: argparse.Namespace) -> int:
    """Runs `jaxsed prepare`; returns its exit status.

    Raises:
      InputError: Nothing could be done.
    """
    import importlib

    from jaxsed.data.hosts import host_of, parse_host
    from jaxsed.data.prepare import prepare
    from jaxsed.errors import InputError
    from jaxsed.labels import vocab

    layout = importlib.import_module(f"jaxsed.data.layouts.{args.layout}")
    if not args.source.is_dir():
        raise InputError(f"{args.source} is not a folder; expected the data set")
    if args.out.resolve() == args.source.resolve():
        raise InputError(
            f"--out {args.out} is the data set itself; give another folder"
        )
    host = parse_host(args.host) if args.host else host_of()
    vocabulary = vocab.load(args.vocabulary) if args.vocabulary else None
    tables = table_arguments.options_of(args, layout)
    options = _annotation(args.annotation, layout) | tables
    sources = [
        layout.read(args.source, split, vocabulary, exclude=args.out, **options)
        for split in _splits(args.splits, args.source, layout, tables)
    ]
    # A copy of one split only is normal, unless the other one was asked for.
    may_skip = args.splits is None and any(source.has_audio for source in sources)
    anything_wrong = False
    for source in sources:
        if may_skip and not source.has_audio:
            anything_wrong = True
            looked_for = f"; looked for {source.clips[0].id}" if source.clips else ""
            print(
                f"{source.split}: left out, none of its clips has a sound{looked_for}"
            )
            continue
        manifest = prepare(
            source,
            args.out / source.split,
            workers=args.workers,
            n_shards=args.shards,
            host=host,
            progress=_progress(source.split, host),
        )
        if manifest is None:
            print(
                f"{args.out / source.split}: the shards of host {host} are written; the "
                "last host to finish completes the folder"
            )
            continue
        print(_summary(manifest, args.out / source.split))
        anything_wrong |= bool(manifest["problems"])
    return 3 if anything_wrong else 0


def _annotation(asked: str | None, layout) -> dict[str, str]:
    from jaxsed.errors import InputError

    if asked is None:
        return {}
    if asked not in layout.ANNOTATIONS:
        raise InputError(
            f"--annotation {asked}: {layout.NAME} has {' and '.join(layout.ANNOTATIONS)}"
        )
    return {"annotation": asked}


def _splits(asked: str | None, source: Path, layout, tables: dict) -> list[str]:
    from jaxsed.errors import InputError

    if asked is None:
        splits = layout.available_splits(source, **tables)
        if not splits:
            expected = " or ".join(dict.fromkeys(map(layout.expected, layout.SPLITS)))
            raise InputError(
                f"{source} holds nothing of layout {layout.NAME}; expected {expected}"
            )
        return splits
    known = list(getattr(layout, "PARTS", layout.SPLITS))
    splits = [split.strip() for split in asked.split(",") if split.strip()]
    if hasattr(layout, "folds"):
        known += layout.folds(source)
    if not splits or not set(splits) <= set(known):
        raise InputError(f"--splits {asked!r}; expected some of {','.join(known)}")
    return list(dict.fromkeys(splits))


def _progress(split: str, host):
    from tqdm import tqdm

    whose = f" (host {host})" if host.count > 1 else ""
    # disable=None: no bar where there is no terminal.
    return lambda shards, total: tqdm(
        shards, desc=f"prepare {split}{whose}", total=total, unit="shard", disable=None
    )


def _summary(manifest: dict, folder: Path) -> str:
    from jaxsed.data.problems import KINDS
    from jaxsed.data.records import PROBLEMS

    classes = manifest["classes"]
    lines = [
        f"{folder}: {manifest['clips']} of {manifest['clips_listed']} clips, "
        f"{manifest['seconds'] / 3600:.2f} h, {_labels(manifest)}"
    ]
    missing = manifest["clips_listed"] - manifest["clips"]
    if missing:
        lines.append(f"  {missing:>7} {'not used':<16} {_most_missing(classes)}")
    for kind, count in manifest["problems"].items():
        lines.append(f"  {count:>7} {kind:<16} {KINDS[kind]}")
    if manifest["problems"]:
        lines.append(f"  listed in {folder / PROBLEMS}")
    return "\n".join(lines)


def _labels(manifest: dict) -> str:
    from jaxsed.data.layouts.source import FRAMES, NONE

    if manifest["annotation"] == NONE:
        return "without labels"
    classes = manifest["classes"]
    labels = "events" if manifest["annotation"] == FRAMES else "labels of clips"
    labels += ", one a clip," if manifest["labels"] == "single" else ""
    return (
        f"{sum(entry['events'] for entry in classes)} {labels} in "
        f"{sum(entry['clips'] > 0 for entry in classes)} of {len(classes)} classes"
    )


def _most_missing(classes: list[dict]) -> str:
    def share(entry):
        return entry["missing"] / (entry["missing"] + entry["clips"])

    lacking = [entry for entry in classes if entry["missing"]]
    lacking.sort(key=lambda entry: (-share(entry), -entry["missing"], entry["name"]))
    listed = ", ".join(
        f"{entry['name']} {entry['missing']} of {entry['missing'] + entry['clips']}"
        for entry in lacking[:_CLASSES_IN_SUMMARY]
    )
    if not lacking:
        return "no class lacks a clip"
    return f"{len(lacking)} classes lack clips, most: {listed}"
