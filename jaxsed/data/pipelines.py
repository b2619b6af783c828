"""Batches on the wire: what training and evaluation read.

A batch is a dict of numpy arrays, one process's part of it:

    audio          int16   [b, n]
    index          int32   [b]        row in the data
    n_samples      int32   [b]        before zero padding
    labels         uint8   [b, t, c]  targets="frames"
    clip_labels    uint8   [b, c]     targets="clip"
    teacher        float16 [b, t, c]  with a teacher, targets="frames": probabilities
    clip_teacher   float16 [b, c]     the same, targets="clip"
    times_known    bool    [b]        targets="frames", where some clips have labels of the
                                      whole clip: False for those; with `clip_labels`
    teacher_valid  bool    [b]        with a teacher: False where the store lacks the clip
    valid          bool    [b]        evaluation: False for what fills up the last batch

Data with stored frames (`jaxsed.data.framed`) have those in place of the first and third:

    aligned        float16 [b, t, d]  what the heads hear of the encoder; and, as the head
                                      asks for it, `summary [b, d]` or `steps [b, s, d]`

With wavmix, `labels` and `clip_labels` are float16: mixed labels are fractions.

`jaxsed.data.batches` computes them; here grain's prefetching goes around it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxsed.data import wavmix
from jaxsed.data.batches import EvaluationBatches, ProcessShare, TrainingBatches
from jaxsed.data.examples import Examples, ExampleShape
from jaxsed.data.sampling import AST_OFFSET_CLIPS
from jaxsed.data.shares import example_order
from jaxsed.errors import InputError

if TYPE_CHECKING:
    from jaxsed.data.joined import JoinedData
    from jaxsed.data.records import PreparedData
    from jaxsed.data.stream import BatchIterator
    from jaxsed.data.teacher_logits import TeacherLogits


def training_batches(
    data: "PreparedData | JoinedData",
    *,
    seed: int,
    batch_size: int,
    sampling: str = "uniform",
    shares: Sequence[int] = (),
    importance: str | None = None,
    importance_offset_clips: float = AST_OFFSET_CLIPS,
    epoch_clips: int | None = None,
    clip_seconds: float = 10.0,
    sample_rate: int = 16000,
    n_frames: int = 250,
    targets: str | None = "frames",
    wavmix_probability: float = 0.0,
    wavmix_alpha: float = wavmix.ALPHA,
    wavmix_major: bool = True,
    teacher: "TeacherLogits | None" = None,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
    threads: int = 2,
    prefetch_batches: int = 2,
    cache_decoded_bytes: int = 0,
    n_batches: int | None = None,
) -> "BatchIterator":
    """Returns the endless training batches of this process.

    Args:
        data: what to train on, a `PreparedData` or a `JoinedData`.
        seed: of the run.
        batch_size: of the global batch, all processes together.
        sampling: "uniform", "balanced" (the paper's: importance sampling with
            replacement), "balanced_epoch" (the released code's: without replacement
            within an epoch) or "class_queue"; see `sampling.ExampleOrder`.
        shares: of each folder in a batch where data are of several, see
            `shares.example_order`.
        importance: weights, "paper", "released" or "clip_counts" (see
            `sampling.importance_weights`); by default "paper" for "balanced", "released"
            for "balanced_epoch".
        importance_offset_clips: see there.
        epoch_clips: see `sampling.ExampleOrder`.
        clip_seconds: length of an example. Longer clips are cut at a random label
            frame, labels and teacher targets with them; shorter ones are zero-padded.
        sample_rate: Hz.
        n_frames: label frames of 40 ms.
        targets: "frames" or "clip", or None for no labels, which are then not read.
        wavmix_probability: of mixing a clip with another one in the loader.
        wavmix_alpha: see `wavmix.draw_weight`.
        wavmix_major: see there.
        teacher: store of teacher logits.
        process_index: which part of each global batch this process computes.
        process_count: in how many parts a global batch is computed.
        workers: processes that compute batches; 0 computes them in this one.
        threads: that compute batches, in this process or in each worker.
        prefetch_batches: batches computed ahead, by this process or by each worker.
        cache_decoded_bytes: memory for decoded clips, all workers together. 320 kB hold
            10 s of 16 kHz; worth it where all clips fit.
        n_batches: stop after so many.

    Returns:
        An iterator with `get_state/set_state` and `speed`; a `grain.DatasetIterator`.
        Its state is independent of workers, threads and process count.

    Raises:
        InputError: an argument is out of range, the teacher's logits are of other
            classes or clips or do not reach to their ends, or (while iterating) a clip cannot be decoded.
    """
    _check_effort(workers, threads, prefetch_batches, cache_decoded_bytes)
    if teacher is not None:
        teacher.check(data, n_frames)
    share = ProcessShare(batch_size, process_index, process_count)
    shape = ExampleShape(clip_seconds, sample_rate, n_frames, targets)
    how = (importance, importance_offset_clips, epoch_clips, shares)
    order = example_order(data, sampling, seed, *how)
    examples = Examples(data, shape, teacher, cache_decoded_bytes // max(1, workers))
    mixing = (wavmix_probability, wavmix_alpha, wavmix_major)
    batches = TrainingBatches(examples, order, share, *mixing, n_batches)
    return _iterate(batches, workers, threads, prefetch_batches)


def evaluation_batches(
    data: "PreparedData",
    *,
    batch_size: int,
    start: int = 0,
    clip_seconds: float = 10.0,
    sample_rate: int = 16000,
    n_frames: int = 250,
    targets: str | None = "frames",
    teacher: "TeacherLogits | None" = None,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
    threads: int = 2,
    prefetch_batches: int = 2,
    cache_decoded_bytes: int = 0,
) -> "BatchIterator":
    """Returns every clip from row `start` on once, in order.

    The last batch is filled up with clip 0, where `valid` is False. Clips longer than
    `clip_seconds` are read from their start.

    Args:
        data: what to evaluate on.
        batch_size: of the global batch, all processes together.
        start: row of the first clip; to go on where an earlier pass was stopped.
        clip_seconds: length of an example.
        sample_rate: Hz.
        n_frames: label frames of 40 ms.
        targets: "frames", "clip", or None for no labels.
        teacher: store of teacher logits.
        process_index: as in `training_batches`.
        process_count: as in `training_batches`.
        workers: as in `training_batches`.
        threads: as in `training_batches`.
        prefetch_batches: as in `training_batches`.
        cache_decoded_bytes: as in `training_batches`; only of use if one object is
            iterated several times (`iterator.rewind()`).

    Returns:
        As `training_batches`, but finite: `len(iterator)` batches.

    Raises:
        InputError: as `training_batches`.
    """
    _check_effort(workers, threads, prefetch_batches, cache_decoded_bytes)
    if teacher is not None:
        teacher.check(data, n_frames)
    share = ProcessShare(batch_size, process_index, process_count)
    shape = ExampleShape(clip_seconds, sample_rate, n_frames, targets)
    examples = Examples(data, shape, teacher, cache_decoded_bytes // max(1, workers))
    batches = EvaluationBatches(examples, share, start)
    return _iterate(batches, workers, threads, prefetch_batches)


def _check_effort(workers, threads, prefetch_batches, cache_decoded_bytes) -> None:
    if min(workers, threads, prefetch_batches, cache_decoded_bytes) < 0:
        raise InputError(
            f"workers={workers}, threads={threads}, prefetch_batches="
            f"{prefetch_batches}, cache_decoded_bytes={cache_decoded_bytes}: expected "
            "0 or more each"
        )


def _iterate(batches, workers: int, threads: int, prefetch: int) -> "BatchIterator":
    # grain imports jax where it is installed (not its devices); what is above does not.
    from jaxsed.data.stream import BatchIterator

    return BatchIterator(batches, workers, threads, prefetch)
