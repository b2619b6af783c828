"""Step 3b: the teachers' mean logits of every training clip, and the ensemble's score.

Effective Pre-Training, section II-D: logits, not probabilities, are averaged, class by
class and frame by frame.
"""

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from jaxsed.data.records import PreparedData
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.data.teacher_writer import TeacherLogitsWriter
from jaxsed.errors import InputError
from jaxsed.labels.events import CLIP_FRAMES, FRAME_SECONDS, offset_frames
from jaxsed.labels.vocab import Vocabulary
from jaxsed.stages import scoring
from jaxsed.stages.workdir import claim
from jaxsed.training import sharding
from jaxsed.training.logs import MetricsLog, is_done
from jaxsed.weights import architecture, files, named


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Writes `logits/` (training clips) and `scores/` (evaluation clips), and scores.

    Goes on where an earlier call was stopped, batch by batch and teacher by teacher.

    Args:
        config: `teachers` (name -> model folder), `data.train`, `data.eval`,
            `data.clip_seconds`, `batch_size`, `eval` and `mesh`.
        workdir: folder of the run.

    Raises:
        InputError: no teachers, or teachers with different class lists.
    """
    claim(workdir, config)
    if is_done(workdir / "metrics.jsonl"):
        logging.info("%s is finished already", workdir)
        return
    mesh = sharding.make_mesh(**config["mesh"])
    vocabulary = common_vocabulary(config["teachers"])
    eval_data = PreparedData(config["data"]["eval"])
    train_data = PreparedData(config["data"]["train"])
    train_seconds = config["data"]["clip_seconds"] or CLIP_FRAMES * FRAME_SECONDS
    average(config, train_data, vocabulary, mesh, workdir / "logits", train_seconds)
    average(config, eval_data, vocabulary, mesh, workdir / "eval_logits")
    if jax.process_index() != 0:
        return
    store = scoring.new_store(workdir / "scores", eval_data, vocabulary)
    mean = TeacherLogits(workdir / "eval_logits")
    for row, clip in enumerate(eval_data.ids):
        store.write([row], mean.get(clip)[None])
    metrics = scoring.frame_metrics(store, eval_data, **config["eval"])
    log = MetricsLog(workdir)
    n_teachers = len(config["teachers"])
    log.write(n_teachers, {f"eval/{name}": value for name, value in metrics.items()})
    log.write(n_teachers, {"done": True})


def common_vocabulary(teachers: Mapping[str, str]) -> Vocabulary:
    """Returns the class list that all teachers share.

    Raises:
        InputError: there are no teachers, or two have different class lists.
    """
    if not teachers:
        raise InputError("teachers is empty: name at least one model folder")
    found = {
        name: Vocabulary.from_json(files.read_description(folder)["vocabulary"])
        for name, folder in teachers.items()
    }
    first_name, first = next(iter(found.items()))
    for name, vocabulary in found.items():
        if vocabulary.hash != first.hash:
            raise InputError(
                f"teachers {first_name!r} and {name!r} have different class lists: an "
                "ensemble needs teachers trained on the same data"
            )
    return first


def average(
    config: Mapping[str, Any],
    data: PreparedData,
    vocabulary: Vocabulary,
    mesh: jax.sharding.Mesh,
    directory: Path,
    clip_seconds: float = CLIP_FRAMES * FRAME_SECONDS,
) -> None:
    """Writes the teachers' mean logits of every clip's first `clip_seconds`."""
    batch_size = sharding.round_up_batch(config["batch_size"], mesh)
    first = jax.process_index() == 0  # all compute, one writes
    with contextlib.ExitStack() as stack:
        writer = None
        if first:
            writer = stack.enter_context(
                TeacherLogitsWriter(
                    directory, data.ids, int(offset_frames(clip_seconds)), vocabulary
                )
            )
        for name, folder in config["teachers"].items():
            start = _first_pending(writer, name, len(data), batch_size)
            if start == len(data):
                continue
            params, description = files.load_model(named.model_folder(folder))
            model = architecture.build(description)
            shardings = sharding.state_sharding(mesh, params)
            predictions = scoring.predict_all(
                scoring.make_predict(model, mesh, shardings),
                jax.device_put(params, shardings),
                data,
                mesh,
                model.frontend.sample_rate,
                batch_size,
                start,
                scoring.clip_length(clip_seconds, model),
            )
            title = f"{directory.parent.name}: {name} on {directory.name}"
            with _bar(title, len(data), start, disable=not first) as bar:
                for predicted in predictions:
                    if writer is not None:
                        writer.add(name, predicted.rows, predicted.logits)
                    bar.update(len(predicted.rows))
        if writer is not None:
            writer.finish()


def _first_pending(
    writer: TeacherLogitsWriter | None, name: str, n_clips: int, batch_size: int
) -> int:
    """Returns the first clip of the first batch that a teacher has to compute.

    A whole batch again, not its rest: the same clips beside a clip, the same bits in
    its logits. All processes learn what the writing one knows.
    """
    start = n_clips
    if writer is not None and len(pending := writer.pending(name)):
        start = int(pending[0]) // batch_size * batch_size
    return int(multihost_utils.broadcast_one_to_all(np.int32(start)))


def _bar(title: str, total: int, initial: int, disable: bool) -> tqdm:
    return tqdm(
        desc=title,
        total=total,
        initial=initial,
        unit="clip",
        dynamic_ncols=True,
        disable=disable,
    )
