"""From a data set on disk to the folder the loader reads (`jaxsed.data.records`).

The unit of work is a shard: a fixed part of the split's clips. A shard is written by one
process, atomically, and then its journal (a JSON beside it) with everything the index
needs and a fingerprint of the inputs. A run that was stopped goes on with the shards that
have no fitting journal; one whose source gained sound files redoes the shards concerned.

Several hosts may run the same on one file system, each its own shards; there are no
locks, since nothing is written twice and who finishes last finds all journals there and
publishes. What comes out does not depend on the number of processes or hosts.
"""

import contextlib
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from jaxsed.atomic import write_atomically
from jaxsed.data import records
from jaxsed.data.child_process import leave_with_parent
from jaxsed.data.hosts import ALONE, Host
from jaxsed.data.layouts.films import refuse_films
from jaxsed.data.layouts.matching import find_audio
from jaxsed.data.layouts.source import MULTI, SourceSplit
from jaxsed.data.publish import publish
from jaxsed.data.shards import (
    ShardTask,
    Written,
    is_finished,
    journal_path,
    write_shard,
)
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import is_sound, legible

# 512 clips are about 80 MB of mp3, and 200 shards for AudioSet Strong; small sets are
# split finer, so that several processes have something to do.
_CLIPS_PER_SHARD, _CLIPS_PER_SMALL_SHARD, _SHARDS_OF_SMALL_SETS = 512, 32, 8
_SOURCE = "source.json"
# Asking a network for the state of files is waiting, and waiting is shared.
_CHECKING_THREADS = 8


def prepare(
    source: SourceSplit,
    out: Path,
    *,
    workers: int = 1,
    n_shards: int | None = None,
    host: Host = ALONE,
    progress: Callable[[Iterable, int], Iterable] = lambda shards, total: shards,
) -> dict | None:
    """Writes one split as a prepared folder, or brings one up to date.

    Args:
      source: The split, as its layout read it.
      out: Folder to write; new, empty, or one that was begun from the same annotation.
      workers: Number of processes.
      n_shards: Number of files; by default one for every 512 clips, up to 8 in sets too
        small for that.
      host: Which of several hosts this is; each writes its share of the shards, and the
        last to finish publishes. `ALONE` writes what is missing, whosever it is.
      progress: Wraps the iteration over finished shards (`tqdm`, for instance), given
        the number of those left to do.

    Returns:
      The manifest; None if shards of other hosts are not finished yet.

    Raises:
      InputError: No clip has a usable sound, all sounds are films, `out` holds something
        else, its name is not Unicode, or it cannot be written; or array_record is missing.
    """
    records.require_array_record(out.absolute())
    if not source.has_audio:
        example = source.clips[0].id if source.clips else "SEGMENT_ID"
        called = (sound.name for _, sound in find_audio(source.root, out))
        there = next(filter(is_sound, called), "")
        raise InputError(
            f"no sound found for any of the {len(source.clips)} {source.split} clips "
            f"under {source.root}; sounds are called as clips are, e.g. {example}"
            + (f", but there is {legible(there)}" if there else "")
        )
    if workers < 1 or (n_shards is not None and n_shards < 1):
        raise InputError(
            f"workers={workers}, shards={n_shards}; both must be 1 or more"
        )
    refuse_films(source.clips.audio)
    shards = out / records.SHARDS
    _claim(out, source)
    tasks = _ShardTasks(source, shards, n_shards)
    own = [k for k in range(len(tasks)) if host.owns(k)]
    todo = _unfinished(tasks, own)
    written = list(progress(_write_all(tasks, todo, workers), len(todo)))
    if not all(shard.is_current for shard in written):
        raise InputError("sounds were changed during the run; run it again")
    others = [k for k in range(len(tasks)) if not host.owns(k)]
    if _without_journal(tasks, others) or _unfinished(tasks, others):
        return None
    manifest = publish(source, out, tasks.paths)
    _remove_stale(shards, tasks)
    return manifest


class _ShardTasks(Sequence[ShardTask]):
    """The shards of a split; made when they are looked at, as they hold all clips."""

    def __init__(self, source: SourceSplit, shards: Path, n_shards: int | None):
        # Clips without audio take part, so that a clip stays in its shard when it
        # arrives.
        n_clips = len(source.clips)
        small = min(math.ceil(n_clips / _CLIPS_PER_SMALL_SHARD), _SHARDS_OF_SMALL_SETS)
        n_shards = n_shards or max(math.ceil(n_clips / _CLIPS_PER_SHARD), small)
        n_shards = min(n_shards, n_clips)
        self._source, self._order = source, source.clips.reading_order()
        bounds = [n_clips * k // n_shards for k in range(n_shards + 1)]
        self._parts = [slice(*pair) for pair in itertools.pairwise(bounds)]
        self.paths = [
            shards / f"{k:05d}-of-{n_shards:05d}.array_record" for k in range(n_shards)
        ]

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, k: int) -> ShardTask:
        source = self._source
        clips = source.clips[self._order[self._parts[k]]]
        return ShardTask(self.paths[k], source.vocabulary, clips, source.merges_events)


def _without_journal(tasks: _ShardTasks, which: Iterable[int]) -> list[int]:
    """Returns those of the shards that were never written."""
    # Listed, not asked for one by one: network file systems remember for a while that
    # a file was not there, and forget it when the folder is read.
    there = set(os.listdir(tasks.paths[0].parent))
    return [k for k in which if journal_path(tasks.paths[k]).name not in there]


def _unfinished(tasks: _ShardTasks, which: Iterable[int]) -> list[int]:
    """Returns those of the shards that are not there, or not as they should be."""
    missing = set(_without_journal(tasks, which))
    rest = [k for k in which if k not in missing]
    with futures.ThreadPoolExecutor(_CHECKING_THREADS) as threads:
        finished = threads.map(lambda k: is_finished(tasks[k]), rest)
        outdated = [k for k, is_there in zip(rest, finished) if not is_there]
    return sorted([*missing, *outdated])


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
        "labels": source.labels,
    }
    path = out / records.SHARDS / _SOURCE
    try:
        # In this order: another host may claim the same folder at the same time, and
        # writes nothing else before it has.
        strangers = list(_strangers(out))
        is_new = not path.exists()
        if is_new and not strangers:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(mine, indent=1))
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
    if is_new and strangers:
        raise InputError(
            f"{out} is not empty and was not written by `jaxsed prepare`; choose "
            "another --out"
        )
    try:
        # Folders from before there was a choice hold `multi`.
        theirs = {"labels": MULTI} | json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        theirs = {}
    differ = [key for key in mine if theirs.get(key) != mine[key]]
    if differ:
        raise InputError(
            f"{out} holds data prepared from another source (differs in "
            f"{', '.join(differ)}); choose another --out or delete it"
        )


def _strangers(out: Path) -> Iterator[Path]:
    """Yields what a run that was stopped before it claimed `out` cannot have left."""
    if out.exists():
        yield from (path for path in out.iterdir() if path.name != records.SHARDS)
        left = (out / records.SHARDS).glob("*")
        yield from (path for path in left if path.suffix != ".tmp")


def _write_all(
    tasks: Sequence[ShardTask], todo: Sequence[int], workers: int
) -> Iterator[Written]:
    """Writes shards in this process or several; yields each as it is finished."""
    workers = min(workers, len(todo))
    if workers <= 1:
        yield from (write_shard(tasks[k]) for k in todo)
        return
    # Spawned, not forked: the parent may hold threads (progress bar, jax in a notebook).
    pool = futures.ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        running: set[futures.Future] = set()
        for k in todo:
            running.add(pool.submit(write_shard, tasks[k]))
            if len(running) >= 2 * workers:  # what waits is in memory
                done, running = futures.wait(running, None, futures.FIRST_COMPLETED)
                yield from (shard.result() for shard in done)
        yield from (shard.result() for shard in futures.as_completed(running))
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
    leave_with_parent()


def _remove_stale(shards: Path, tasks: _ShardTasks) -> None:
    """Removes shards of an earlier run with another --shards, and left-overs."""
    keep = {path.name for path in tasks.paths} | {_SOURCE}
    keep |= {journal_path(path).name for path in tasks.paths}
    for path in itertools.chain(shards.glob("*-of-*"), shards.glob("*.tmp")):
        if path.is_dir():
            # At once, for a host that still writes to it: of a folder that loses one
            # file after the other it could not tell what has happened.
            with contextlib.suppress(OSError):  # gone, or another host removes it
                gone = path.rename(path.with_name(f"gone.{uuid.uuid4().hex}.tmp"))
                shutil.rmtree(gone, ignore_errors=True)
        elif path.name not in keep:
            path.unlink(missing_ok=True)
