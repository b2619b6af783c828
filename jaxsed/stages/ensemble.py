"""Step 3b: the teachers' mean logits of every training clip, and the ensemble's score.

Effective Pre-Training, section II-D: logits, not probabilities, are averaged, class by
class and frame by frame; or clip by clip (`targets=clip`), for teachers of step 2.
Longer recordings are heard to their end, in slices of `data.clip_seconds` (10 s): a student
that is trained on a random 10 s of them learns from the logits of those.

What is computed in which order. A clip is decoded once for each sample rate that the
teachers hear, handed to one teacher after the other, and the sum stays on the devices: all
teachers are loaded and compiled once, and nothing but the mean is written, in shards of
`shard_clips`. The paper's 15 teachers are 12 GB; where the devices do not hold them (split
them with `mesh.fsdp` first), `teachers_at_once` bounds how many are held. Then shards are
taken 8 at a time; each such block goes through all groups of teachers in turn, and its
float32 sums lie on disk meanwhile. Audio is decoded once a group, a teacher is loaded once
a block, and the sums take at most 4.1 GB a process, however many clips there are. Either
way logits are added in the order of the teachers' names, in float32, so that neither this
choice nor a stop changes a bit.

Who computes it. Shards are numbered, training clips first, and process i of n takes every
n-th from the i-th on, on its own devices. Processes never wait for each other while they
compute:

    python -m jaxsed.main --config=configs/ensemble.py --workdir=runs/ensemble
    ... --multihost                   all processes of a pod or a SLURM step
    ... --config.part=$SLURM_ARRAY_TASK_ID/16       16 independent jobs, 0/16 to 15/16

Joined processes (`--multihost`) are started and stopped together: process 0 waits for the
shards of all and evaluates. Independent jobs need not run at the same time, and a dead one
stops nobody; whichever finds all shards finished evaluates. Started again with another
number of processes or jobs, what is finished stays, and the rest is shared anew. (Let jobs
of the old number end first: two that write the same shard are refused.) All need the same
`workdir`, on a disk that all see.
"""

import contextlib
import functools
import logging
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxsed import locks
from jaxsed.data.records import PreparedData
from jaxsed.data.row_shards import check_room
from jaxsed.data.slices import Slices
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.data.teacher_store import TeacherStore
from jaxsed.data.teacher_writer import TeacherLogitsWriter
from jaxsed.errors import InputError, check_known
from jaxsed.labels.events import FRAME_SECONDS
from jaxsed.labels.vocab import Vocabulary
from jaxsed.stages import metrics, teacher_passes, teachers
from jaxsed.stages.predictions import EVAL_SECONDS
from jaxsed.stages.share import Share
from jaxsed.stages.workdir import claim
from jaxsed.training import processes
from jaxsed.training.logs import MetricsLog, is_done

TRAIN_LOGITS, EVAL_LOGITS = "logits", "eval_logits"
TARGETS = ("frames", "clip")  # whose logits are stored
LOCK = "evaluation.lock"
POLL_SECONDS = 2.0
_COPIED_CLIPS = 256  # to the score store at once


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Writes `logits/` (training clips) and `scores/` (evaluation clips), and scores.

    Goes on where an earlier call was stopped, batch by batch.

    Args:
        config: `teachers` (name -> model folder), `data.train`, `data.eval`,
            `data.clip_seconds`, `data.workers`, `targets`, `batch_size` (of a process),
            `dtype` (of matrix products), `shard_clips`, `teachers_at_once` (0: all),
            `part`, `eval` and `mesh` (of a process's own devices).
        workdir: folder of the run.

    Raises:
        InputError: no teachers, or some that do not fit each other or the data; what is
            in `workdir` was made of something else; or the disk is too small.
    """
    share = Share.of(config["part"])
    _check_targets(config)
    # Jobs on their own share the folder: each claims one in it.
    claim(workdir / "parts" / f"{share}" if config["part"] else workdir, config)
    if processes.on_first(lambda: _is_complete(workdir)):
        logging.info("%s is finished already", workdir)
        return
    train_seconds = config["data"]["clip_seconds"] or EVAL_SECONDS
    data = {
        TRAIN_LOGITS: Slices(PreparedData(config["data"]["train"]), train_seconds),
        EVAL_LOGITS: Slices(PreparedData(config["data"]["eval"]), EVAL_SECONDS),
    }
    ensemble = teachers.open_teachers(
        config["teachers"],
        (train_seconds, EVAL_SECONDS),
        config["dtype"],
        config["targets"],
    )
    _check_classes(ensemble, data[TRAIN_LOGITS])
    with contextlib.ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                _open_writer(config, workdir / name, ensemble, data[name])
            )
            for name in data
        }
        passes = teacher_passes.TeacherPasses(
            ensemble,
            mesh=teachers.local_mesh(**config["mesh"]),
            batch_size=config["batch_size"],
            workers=config["data"]["workers"],
            at_once=config["teachers_at_once"],
            targets=config["targets"],
        )
        _check_room(workdir, writers.values(), passes.n_sums * share.count)
        work = _pending(writers, share)
        with _bar(workdir.name, work, writers, len(ensemble)) as bar:
            for name, shards in work.items():
                passes.run(writers[name], shards, data[name], bar.update)
        finish = functools.partial(_finish, config, workdir, writers, data[EVAL_LOGITS])
        if config["part"]:
            finish(wait=False)
        else:
            processes.on_first(functools.partial(finish, wait=True))


def _pending(
    writers: Mapping[str, TeacherLogitsWriter], share: Share
) -> dict[str, list[int]]:
    """Returns the unfinished shards of each store that are this process's."""
    pending, first = {}, 0
    for name, writer in writers.items():
        mine = (share.index - first) % share.count
        pending[name] = writer.pending(mine, share.count)
        first += writer.store.n_shards
    return pending


def _check_room(
    workdir: Path, writers: Collection[TeacherLogitsWriter], n_sums: int
) -> None:
    """Refuses a disk that is too small for the shards of all processes."""
    sums = n_sums * max(writer.sum_bytes() for writer in writers)
    check_room(workdir, sum(writer.bytes_left() for writer in writers) + sums)


def _bar(
    title: str,
    work: Mapping[str, Sequence[int]],
    writers: Mapping[str, TeacherLogitsWriter],
    n_teachers: int,
) -> tqdm:
    """Returns the progress of this process's share, in clips times teachers."""
    n_clips = sum(
        len(writers[name].store.rows(shard))
        for name, shards in work.items()
        for shard in shards
    )
    return tqdm(
        desc=title,
        total=n_clips * n_teachers,
        unit="clip",
        dynamic_ncols=True,
        disable=not processes.is_first(),
    )


def _is_complete(workdir: Path) -> bool:
    """Whether all is there that a later stage reads; the teachers may be gone by then."""
    if not is_done(workdir / "metrics.jsonl"):
        return False
    try:
        return not TeacherStore.read(workdir / TRAIN_LOGITS).unfinished()
    except InputError:  # somebody removed it
        return False


def _check_targets(config: Mapping[str, Any]) -> None:
    check_known("targets", config["targets"], TARGETS)
    asked, kinds = config["eval"]["metrics"], (metrics.of_frames, metrics.of_clips)
    fitting = dict(zip(TARGETS, kinds))[config["targets"]](asked)
    if len(fitting) != len(asked):
        odd = next(name for name in asked if name not in fitting)
        raise InputError(
            f"eval.metrics has {odd}, but targets={config['targets']}: an ensemble "
            "stores logits of frames or of whole clips, and is scored on those"
        )


def _check_classes(ensemble: Sequence[teachers.Teacher], data: Slices) -> None:
    """Refuses logits that no student could learn from, before they are computed."""
    known = ensemble[0].vocabulary
    if known.hash != data.vocabulary.hash:
        raise InputError(
            f"the teachers know the {len(known)} classes of {known.name}, data.train "
            f"({data.directory}) has {len(data.vocabulary)} of {data.vocabulary.name}: "
            "take the data that the teachers were trained on"
        )


def _open_writer(
    config: Mapping[str, Any],
    folder: Path,
    ensemble: Sequence[teachers.Teacher],
    data: Slices,
) -> TeacherLogitsWriter:
    n_frames = 1 if config["targets"] == "clip" else data.rows.slice_frames
    return TeacherLogitsWriter(
        folder,
        data.clips.ids,
        n_frames,
        ensemble[0].vocabulary,
        {t.name: t.description["parameters_sha256"] for t in ensemble},
        shard_clips=config["shard_clips"],
        data_hash=data.manifest_hash,
        slices=data.rows,
    )


def _finish(
    config: Mapping[str, Any],
    workdir: Path,
    writers: Mapping[str, TeacherLogitsWriter],
    eval_data: Slices,
    wait: bool,
) -> None:
    """Evaluates once all shards are finished: waits for that, or leaves it to others."""
    while left := sum(len(writer.store.unfinished()) for writer in writers.values()):
        if not wait:
            _say(f"part {config['part']} is done; other parts have {left} shards left")
            return
        time.sleep(POLL_SECONDS)
    try:
        evaluating = locks.take(workdir / LOCK, f"the evaluation of {workdir}")
    except InputError:
        if wait:
            raise
        _say(f"part {config['part']} is done; another part evaluates")
        return
    with evaluating:
        if not is_done(workdir / "metrics.jsonl"):
            _evaluate(config, workdir, eval_data)
        (workdir / LOCK).unlink(missing_ok=True)


def _evaluate(config: Mapping[str, Any], workdir: Path, eval_data: Slices) -> None:
    mean, of_clips = TeacherLogits(workdir / EVAL_LOGITS), config["targets"] == "clip"
    described = TeacherStore.read(workdir / EVAL_LOGITS).vocabulary
    vocabulary = Vocabulary.from_json(described)
    frames = (1, EVAL_SECONDS) if of_clips else (eval_data.clip_frames, FRAME_SECONDS)
    data, asked = eval_data.data, config["eval"]["metrics"]
    store = metrics.new_store(workdir / "scores", data, vocabulary, *frames)
    clip_logits = np.zeros((len(data), len(vocabulary)), np.float32)
    for start in range(0, len(eval_data), _COPIED_CLIPS):
        rows = np.arange(start, min(start + _COPIED_CLIPS, len(eval_data)))
        logits = np.stack([mean.row(row) for row in rows])
        if of_clips:
            eval_data.add_to_means(clip_logits, rows, logits[:, 0].astype(np.float32))
        else:
            clips, first_frames, _ = eval_data.slices(rows)
            store.write(clips, logits, first_frames)
    if of_clips:
        store.write(range(len(data)), clip_logits[:, None])
        found = metrics.clip_metrics(clip_logits, vocabulary, data, asked, store.path)
    else:
        found = metrics.frame_metrics(store, data, **config["eval"])
    log = MetricsLog(workdir)
    n_teachers = len(config["teachers"])
    log.write(n_teachers, {f"eval/{name}": value for name, value in found.items()})
    log.write(n_teachers, {"done": True})


def _say(text: str) -> None:
    print(f"jaxsed: {text}", file=sys.stderr)
