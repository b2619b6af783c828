"""Mixes labelled 10 s scenes from the recordings in this package.

    python -m jaxsed.data.soundscapes OUT --train 600 --eval 150 --seed 0

Written in the layout in which AudioSet Strong is released, with AudioSet's class ids:

    audio/{train,eval}/<segment_id>.flac          16 kHz mono
    audioset_{train,eval}_strong.tsv              segment_id, start, end, label (MID)
    audioset_{train,eval}_durations.tsv           filename, duration
    mid_to_display_name.tsv                       MID, class name; no header
    soundscapes.json                              the arguments; written last
"""

import argparse
import functools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import soundfile

from jaxsed.data.recordings import table
from jaxsed.data.recordings.scenes import (
    CLIP_SECONDS,
    SAMPLE_RATE,
    SceneEvent,
    render_scene,
)
from jaxsed.errors import InputError

VERSION = 1  # to be raised whenever the same arguments give other scenes
FORMATS = ("flac", "wav", "ogg")


def _write_scene(
    index: int, seed: int, split: str, folder: Path, audio_format: str
) -> tuple[str, tuple[SceneEvent, ...]]:
    scene = render_scene(seed, split, index)
    path = folder / f"{scene.segment_id}.{audio_format}"
    subtype = "VORBIS" if audio_format == "ogg" else "PCM_16"
    soundfile.write(path, scene.wave, SAMPLE_RATE, subtype=subtype)
    return scene.segment_id, scene.events


def _write_split(
    out: Path, split: str, clips: int, seed: int, audio_format: str, mapper: Callable
) -> None:
    folder = out / "audio" / split
    folder.mkdir(parents=True)
    job = functools.partial(
        _write_scene, seed=seed, split=split, folder=folder, audio_format=audio_format
    )
    strong = ["segment_id\tstart_time_seconds\tend_time_seconds\tlabel"]
    durations = ["filename\tduration"]
    for name, events in mapper(job, range(clips)):
        durations.append(f"{name}.{audio_format}\t{CLIP_SECONDS}")
        strong += [f"{name}\t{e.onset:.3f}\t{e.offset:.3f}\t{e.mid}" for e in events]
    _write_lines(out / f"audioset_{split}_strong.tsv", strong)
    _write_lines(out / f"audioset_{split}_durations.tsv", durations)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _check_arguments(arguments: dict, workers: int) -> None:
    for name in ("train_clips", "eval_clips", "seed"):
        value = arguments[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InputError(f"{name}={value!r}: must be a whole number, 0 or more")
    if arguments["audio_format"] not in FORMATS:
        raise InputError(
            f"audio_format={arguments['audio_format']!r}: must be one of "
            + ", ".join(FORMATS)
        )
    if workers < 1:
        raise InputError(f"workers={workers}: must be 1 or more")


def _is_complete(out: Path, arguments: dict) -> bool:
    """Whether `out` already holds what these arguments give.

    Raises:
        InputError: `out` is there, but is something else or has lost files.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = json.loads((out / "soundscapes.json").read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.keys() != arguments.keys():
            raise ValueError
    except (OSError, ValueError):
        raise InputError(
            f"{out}: is there already, and is not a folder of soundscapes; give a new "
            "or empty folder"
        ) from None
    differing = [k for k in arguments if found[k] != arguments[k]]
    if {"version", "recordings"} & set(differing):
        raise InputError(
            f"{out}: holds soundscapes made by another version of jaxsed; give another "
            "folder, or delete this one"
        )
    if differing:
        raise InputError(
            f"{out}: holds soundscapes made with other arguments ("
            + ", ".join(f"{k} {found[k]!r}, not {arguments[k]!r}" for k in differing)
            + "); give another folder, or delete this one"
        )
    for split in table.SPLITS:
        count = len(list((out / "audio" / split).glob(f"*.{found['audio_format']}")))
        if count != found[f"{split}_clips"]:
            raise InputError(
                f"{out / 'audio' / split}: {count} of {found[f'{split}_clips']} files; "
                f"delete {out} to have it made again"
            )
    return True


def write_dataset(
    out_dir: str | os.PathLike,
    train_clips: int = 600,
    eval_clips: int = 150,
    seed: int = 0,
    *,
    audio_format: str = "flac",
    workers: int = 1,
) -> Path:
    """Writes a data set of scenes, or recognises the one that is already there.

    The folder appears under its name when it is complete, never before.

    Args:
        out_dir: folder to be made; may exist if it is empty or holds the same data.
        train_clips: number of training scenes.
        eval_clips: number of evaluation scenes, of other recordings.
        seed: scene i of a split depends on the seed, the split and i alone.
        audio_format: `flac`, `wav` or `ogg` (Vorbis; libsndfile gives each Ogg stream
            a random serial number, so only flac and wav files repeat byte by byte).
        workers: processes that mix scenes; the result does not depend on it. More
            than one needs a main module that is safe to import.

    Returns:
        The folder.

    Raises:
        InputError: an argument is out of range; the folder holds something else or
            cannot be written.
    """
    arguments = {
        "layout": "audioset_strong",
        "version": VERSION,
        "recordings": table.content_hash(),
        "seed": seed,
        "train_clips": train_clips,
        "eval_clips": eval_clips,
        "audio_format": audio_format,
    }
    _check_arguments(arguments, workers)
    out = Path(out_dir)
    if _is_complete(out, arguments):
        return out
    partial = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        _write_all(partial, arguments, workers)
        partial.chmod(0o755)  # mkdtemp's folders are for their owner alone
        os.replace(partial, out)
    except OSError as error:
        if _is_complete(out, arguments):  # another process was faster
            return out
        raise InputError(f"{out}: cannot be written ({error})") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return out


def _write_all(out: Path, arguments: dict, workers: int) -> None:
    clips = {split: arguments[f"{split}_clips"] for split in table.SPLITS}
    seed, audio_format = arguments["seed"], arguments["audio_format"]
    if workers == 1:
        for split in table.SPLITS:
            _write_split(out, split, clips[split], seed, audio_format, map)
    else:
        # spawn: a fork of a process that runs jax may hang
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            mapper = functools.partial(pool.map, chunksize=8)
            for split in table.SPLITS:
                _write_split(out, split, clips[split], seed, audio_format, mapper)
    names = [f"{mid}\t{name}" for mid, name in table.display_names().items()]
    _write_lines(out / "mid_to_display_name.tsv", names)
    _write_lines(out / "soundscapes.json", [json.dumps(arguments, indent=2)])


def main(argv: Sequence[str] | None = None) -> int:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxsed.data.soundscapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--train", type=int, default=600, help="scenes to train on")
    parser.add_argument("--eval", type=int, default=150, help="scenes to evaluate on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=FORMATS, default="flac")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    args = parser.parse_args(argv)
    try:
        out = write_dataset(
            args.out,
            args.train,
            args.eval,
            args.seed,
            audio_format=args.format,
            workers=args.workers,
        )
    except InputError as error:
        print(f"soundscapes: {error}", file=sys.stderr)
        return 1
    print(f"{out}: {args.train} scenes to train on, {args.eval} to evaluate on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
