"""Stored scores as strips of keys: class by class, filtered, in bounded memory.

A *strip* is one class of many clips: their keys (`jaxsed.evaluation.keys`), one clip
after the other, with frames without a score in between, before the first and after the
last. What is counted over clips is then counted along one flat array.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxsed.errors import InputError
from jaxsed.evaluation import keys
from jaxsed.evaluation.median import reflected_frames, sliding_upper_median
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore


class Layout:
    """Where the clips of a strip lie.

    Attributes:
        starts: int64 `[b]`, position of each clip's first frame.
        n_frames: int64 `[b]`.
        gap: frames without a score after each clip, at least 1; one lies before all.
        size: length of the strip.
    """

    def __init__(self, n_frames: Sequence[int] | np.ndarray, gap: int):
        self.n_frames = np.asarray(n_frames, np.int64)
        self.gap = gap
        ends = 1 + np.cumsum(self.n_frames + gap)
        self.starts = ends - self.n_frames - gap
        self.size = int(ends[-1]) if len(ends) else 1

    def places(self, clips: np.ndarray) -> np.ndarray:
        """Returns the positions of some clips' frames and of the gaps after them."""
        return ranges(self.starts[clips], self.n_frames[clips] + self.gap)

    def gaps(self) -> np.ndarray:
        """Returns the positions of all frames without a score."""
        after = ranges(self.starts + self.n_frames, np.full(len(self.starts), self.gap))
        return np.append(0, after)

    def clip_of(self, positions: np.ndarray) -> np.ndarray:
        """Returns the clip in which, or in the gap after which, each position lies."""
        return np.searchsorted(self.starts, positions, side="right") - 1


class Strip(NamedTuple):
    """One class of some clips.

    Attributes:
        label: the class.
        keys: unsigned `[layout.size]`.
        n_keys: all keys are below it, and no score has the highest one.
    """

    label: int
    keys: np.ndarray
    n_keys: int


class Block(NamedTuple):
    """Some clips, of which the strips follow.

    Attributes:
        clips: which of the rows asked for.
        layout: of all strips.
        strips: one a class; the keys are the receiver's to change.
    """

    clips: range
    layout: Layout
    strips: Iterator[Strip]


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the numbers from each start on, as many as asked for, in a row."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def blocks(
    scores: ScoreStore | ScoreTables,
    rows: Sequence[int],
    labels: Sequence[int],
    width_frames: int,
) -> Iterator[Block]:
    """Reads some classes and runs the median filter over them.

    Scores in float16 have the same keys everywhere and come in blocks of clips. Keys of
    other scores are their ranks within a class, so that all clips come in one block.

    Args:
        scores: stored scores.
        rows: clips.
        labels: classes.
        width_frames: width of the median filter; 0 is off.

    Raises:
        InputError: scores that are not finite numbers.
    """
    width = max(width_frames, 1)
    if scores.dtype == np.float16:
        yield from _blocks_of_float16(scores, rows, labels, width)
    else:
        yield _block_of_any(scores, rows, labels, width)


def _blocks_of_float16(scores, rows, labels, width: int) -> Iterator[Block]:
    n_frames = np.array([len(scores.timestamps(row)) - 1 for row in rows])
    for clips, of_classes in scores.blocks(rows, labels):
        layout = Layout(n_frames[clips.start : clips.stop], _gap(width))
        ids = [scores.ids[rows[clip]] for clip in clips]
        spread = _spreading(layout.n_frames, width)
        reflected = (
            Strip(
                label,
                spread(_keys_of_float16(frames, layout, ids)),
                keys.N_FLOAT16_KEYS,
            )
            for label, frames in zip(labels, of_classes, strict=True)
        )
        yield Block(clips, layout, _filtered(reflected, layout, width))


def _keys_of_float16(
    frames: np.ndarray, layout: Layout, ids: Sequence[str]
) -> np.ndarray:
    """Turns scores `[frames]` of clips, one after the other, into their keys."""
    found = keys.of_float16(frames)
    if not keys.all_finite(found):
        broken = np.isfinite(frames).argmin()
        ends = np.cumsum(layout.n_frames)
        clip_id = ids[np.searchsorted(ends, broken, side="right")]
        raise InputError(f"the scores of clip {clip_id!r} are not finite numbers")
    return found


def _spreading(n_frames: np.ndarray, width: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what reflects clips that lie one after the other, and sets gaps between.

    What it returns takes `[frames]` and gives a strip, but for its first frame.
    """
    if (n_frames == n_frames[0]).all():

        def of_equal(frames):
            clips = frames.reshape(len(n_frames), -1)
            size = clips.shape[1] + _gap(width)
            values = np.empty((len(clips), size), frames.dtype)
            _reflect(clips, width, values)
            return values.ravel()

        return of_equal
    filler = np.zeros(_gap(width) - width + 1, np.int64)
    places = [
        np.append(start + reflected_frames(int(n), width), filler)
        for start, n in zip(np.cumsum(n_frames) - n_frames, n_frames)
    ]
    return functools.partial(np.take, indices=np.concatenate(places))


def _block_of_any(scores, rows, labels, width: int) -> Block:
    layout = Layout([len(scores.timestamps(row)) - 1 for row in rows], _gap(width))
    values = np.zeros((len(labels), layout.size - 1))
    for clips, of_classes in scores.blocks(rows, labels):
        n_frames = layout.n_frames[clips.start : clips.stop]
        for clip, end in zip(clips, np.cumsum(n_frames)):
            begin = end - layout.n_frames[clip]
            start = layout.starts[clip] - 1
            stop = start + layout.n_frames[clip] + layout.gap
            of_clip = np.stack([of_class[begin:end] for of_class in of_classes])
            _reflect(of_clip, width, values[:, start:stop])
    reflected = (
        Strip(label, *keys.ranks(of_class))
        for label, of_class in zip(labels, values, strict=True)
    )
    return Block(range(len(rows)), layout, _filtered(reflected, layout, width))


def _gap(width: int) -> int:
    return max(width - 1, 1)


def _reflect(clips: np.ndarray, width: int, out: np.ndarray) -> None:
    """Copies `[k, t]` to `[k, t + gap]`, with what windows need beyond the ends."""
    n_frames, before = clips.shape[1], width // 2
    frames = reflected_frames(n_frames, width)
    out[:, before : before + n_frames] = clips
    out[:, :before] = clips[:, frames[:before]]
    out[:, before + n_frames : len(frames)] = clips[:, frames[before + n_frames :]]


def _filtered(
    reflected: Iterator[Strip], layout: Layout, width: int
) -> Iterator[Strip]:
    """Filters strips of reflected clips, which lack the frame before the first clip."""
    gaps = layout.gaps()
    for strip in reflected:
        filtered = np.empty(layout.size, strip.keys.dtype)
        sliding_upper_median(strip.keys, width, filtered[1:])
        filtered[gaps] = keys.NO_SCORE
        yield strip._replace(keys=filtered)
