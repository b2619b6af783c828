"""From a data set on disk to the folder the loader reads (`jaxsed.data.records`).

The unit of work is a shard: a fixed range of the split's clips. A shard is written by one
process, atomically, and then its journal (a JSON beside it) with everything the index
needs and a fingerprint of the inputs. A run that was stopped goes on with the shards that
have no fitting journal; one whose source gained sound files redoes the shards concerned.
What comes out does not depend on the number of processes.
"""

import hashlib
import itertools
import json
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from pathlib import Path

from jaxsed.audio.resample import RESAMPLER
from jaxsed.data import records
from jaxsed.data.layouts.source import SourceSplit
from jaxsed.data.problems import Problem, count_kinds, to_tsv
from jaxsed.data.shards import ShardTask, read_journal, write_shard
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

# 512 clips are about 80 MB of mp3, and 200 shards for AudioSet Strong; small sets are
# split finer, so that several processes have something to do.
_CLIPS_PER_SHARD, _CLIPS_PER_SMALL_SHARD, _SHARDS_OF_SMALL_SETS = 512, 32, 8
_SOURCE = "source.json"


def prepare(
    source: SourceSplit,
    out: Path,
    *,
    workers: int = 1,
    n_shards: int | None = None,
    progress: Callable[[Iterable, int], Iterable] = lambda shards, total: shards,
) -> dict:
    """Writes one split as a prepared folder, or brings one up to date.

    Args:
      source: The split, as its layout read it.
      out: Folder to write; new, empty, or one that was begun from the same annotation.
      workers: Number of processes.
      n_shards: Number of files; by default one for every 512 clips, up to 8 in sets too
        small for that.
      progress: Wraps the iteration over finished shards (`tqdm`, for instance), given
        the number of those left to do.

    Returns:
      The manifest.

    Raises:
      InputError: No clip has a usable sound file, `out` holds something else, or it
        cannot be written.
    """
    if not source.has_audio:
        example = source.clips[0].id if source.clips else "SEGMENT_ID"
        raise InputError(
            f"no sound file found for any of the {len(source.clips)} {source.split} "
            f"clips under {source.root}; expected e.g. "
            f"{source.root / 'audio' / source.split / example}.wav"
        )
    if workers < 1 or (n_shards is not None and n_shards < 1):
        raise InputError(
            f"workers={workers}, shards={n_shards}; both must be 1 or more"
        )
    shards = out / records.SHARDS
    _claim(out, source)
    tasks = _plan(source, shards, n_shards)
    todo = [task for task in tasks if read_journal(task) is None]
    for _ in progress(_write_all(todo, workers), len(todo)):
        pass
    journals = [read_journal(task) for task in tasks]
    if None in journals:
        raise InputError(
            "sound files or shards were changed during the run; run it again"
        )
    manifest = _publish(source, out, tasks, journals)
    _remove_stale(shards, tasks)
    return manifest


def _claim(out: Path, source: SourceSplit) -> None:
    """Makes sure that `out` is ours to write, and says whose data it holds."""
    identity = hashlib.sha256()
    for clip in source.clips:
        events = sorted(event[:3] for event in clip.events)  # not the line numbers
        identity.update(repr((clip.id, events)).encode())
    mine = {
        "format": records.FORMAT_VERSION,
        "layout": source.layout,
        "split": source.split,
        "annotation": identity.hexdigest(),
        "vocabulary": source.vocabulary.hash,
    }
    path = out / records.SHARDS / _SOURCE
    if path.exists():
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            theirs = {}
        differ = [key for key in mine if theirs.get(key) != mine[key]]
        if differ:
            raise InputError(
                f"{out} holds data prepared from another source (differs in "
                f"{', '.join(differ)}); choose another --out or delete it"
            )
        return
    try:
        if any(_strangers(out)):
            raise InputError(
                f"{out} is not empty and was not written by `jaxsed prepare`; choose "
                "another --out"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
    records.write_atomically(path, json.dumps(mine, indent=1).encode())


def _strangers(out: Path) -> Iterator[Path]:
    """Yields what a run that was stopped before it claimed `out` cannot have left."""
    if out.exists():
        yield from (path for path in out.iterdir() if path.name != records.SHARDS)
        left = (out / records.SHARDS).glob("*")
        yield from (path for path in left if path.suffix != ".tmp")


def _plan(source: SourceSplit, shards: Path, n_shards: int | None) -> list[ShardTask]:
    # Clips without audio take part, so that a clip stays in its shard when it arrives.
    n_clips = len(source.clips)
    small = min(math.ceil(n_clips / _CLIPS_PER_SMALL_SHARD), _SHARDS_OF_SMALL_SETS)
    n_shards = n_shards or max(math.ceil(n_clips / _CLIPS_PER_SHARD), small)
    n_shards = min(n_shards, n_clips)
    bounds = [n_clips * k // n_shards for k in range(n_shards + 1)]
    return [
        ShardTask(
            shards / f"{k:05d}-of-{n_shards:05d}.array_record",
            source.root,
            source.vocabulary,
            source.clips[start:stop],
        )
        for k, (start, stop) in enumerate(itertools.pairwise(bounds))
    ]


def _write_all(tasks: Sequence[ShardTask], workers: int) -> Iterator[Path]:
    """Writes shards in this process or several; yields each as it is finished."""
    if min(workers, len(tasks)) <= 1:
        yield from map(write_shard, tasks)
        return
    # Spawned, not forked: the parent may hold threads (progress bar, jax in a notebook).
    pool = futures.ProcessPoolExecutor(
        min(workers, len(tasks)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        running = [pool.submit(write_shard, task) for task in tasks]
        for done in futures.as_completed(running):
            yield done.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a process was killed (out of memory?); run it again with fewer --workers, "
            "finished shards are kept"
        ) from error
    finally:
        # Shards in progress are finished, none is begun.
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def leave_with_parent():
        connection.wait([parent.sentinel])
        os._exit(1)  # a killed parent cannot end its children

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _publish(
    source: SourceSplit, out: Path, tasks: list[ShardTask], journals: list[dict]
) -> dict:
    """Writes index, problems and, last, the manifest."""
    problems = list(source.problems)
    problems += [Problem(*row) for journal in journals for row in journal["problems"]]
    problems_path = out / records.PROBLEMS
    records.write_atomically(problems_path, to_tsv(problems).encode("utf-8"))
    stored = [
        [entry for entry in journal["clips"] if "sha256" in entry]
        for journal in journals
    ]
    if not any(stored):
        kinds = ", ".join(f"{n} {kind}" for kind, n in count_kinds(problems).items())
        raise InputError(f"no clip can be used: {kinds}; listed in {problems_path}")
    missing = [
        entry
        for journal in journals
        for entry in journal["clips"]
        if "sha256" not in entry
    ]
    used = [
        (task.path.name, journal["bytes"], clips)
        for task, journal, clips in zip(tasks, journals, stored, strict=True)
        if clips
    ]
    clips = [entry for _, _, entries in used for entry in entries]
    records.write_index(
        out,
        clips,
        shard=[k for k, (_, _, entries) in enumerate(used) for _ in entries],
        row=[row for _, _, entries in used for row in range(len(entries))],
    )
    manifest = {
        "format": records.FORMAT_VERSION,
        "layout": source.layout,
        "split": source.split,
        "clips": len(clips),
        "clips_listed": len(source.clips),
        "seconds": math.fsum(entry["duration"] for entry in clips),
        "content_hash": _content_hash(source.vocabulary, clips),
        "resampler": RESAMPLER,
        "problems": count_kinds(problems),
        "shards": [
            {"file": name, "clips": len(entries), "bytes": n_bytes}
            for name, n_bytes, entries in used
        ],
        "classes": _count_classes(source.vocabulary, clips, missing),
        "vocabulary": source.vocabulary.to_json(),
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    records.write_atomically(out / records.MANIFEST, text.encode("utf-8"))
    return manifest


def _content_hash(vocabulary: Vocabulary, clips: list[dict]) -> str:
    """sha256 over the vocabulary's hash and, for every clip, id, audio hash, events."""
    digest = hashlib.sha256(vocabulary.hash.encode())
    for clip in clips:
        line = [clip["id"], clip["sha256"], clip["events"]]
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()


def _count_classes(
    vocabulary: Vocabulary, clips: list[dict], missing: list[dict]
) -> list[dict]:
    """Per class: clips, events and seconds there are, and listed clips left out."""
    counts = [
        {
            "mid": mid,
            "name": name,
            "clips": 0,
            "events": 0,
            "seconds": 0.0,
            "missing": 0,
        }
        for name, mid in zip(vocabulary.names, vocabulary.mids, strict=True)
    ]
    for clip in clips:
        for onset, offset, label in clip["events"]:
            counts[label]["events"] += 1
            counts[label]["seconds"] += offset - onset
        for label in {event[2] for event in clip["events"]}:
            counts[label]["clips"] += 1
    for clip in missing:
        for label in {event[2] for event in clip["events"]}:
            counts[label]["missing"] += 1
    for count in counts:
        count["seconds"] = round(count["seconds"], 6)
    return counts


def _remove_stale(shards: Path, tasks: list[ShardTask]) -> None:
    """Removes shards of an earlier run with another --shards, and left-overs."""
    keep = {task.path.name for task in tasks}
    keep |= {task.path.with_suffix(".json").name for task in tasks} | {_SOURCE}
    for path in shards.glob("*-of-*"):
        if path.name not in keep:
            path.unlink(missing_ok=True)
