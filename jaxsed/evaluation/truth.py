"""Which clips, classes and true events an evaluation counts."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxsed.errors import InputError
from jaxsed.evaluation.result import examples
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.events import Event, merge_overlapping
from jaxsed.labels.vocab import Vocabulary


class ClassEvents(NamedTuple):
    """The true events of a class, by clip and onset; no two of them touch.

    Attributes:
        clip: int64 `[e]`, places in `Truth.rows`, ascending.
        onset: float64 `[e]`, seconds.
        offset: float64 `[e]`, seconds.
    """

    clip: np.ndarray
    onset: np.ndarray
    offset: np.ndarray


class Truth:
    """The clips, classes and events that take part, and what does not and why.

    Class indices are those of the scores' vocabulary.

    Attributes:
        rows: rows of the scores that take part, in the order of their sorted ids.
        durations: seconds of these clips, in the same order.
        common: classes that model and truth both know, ascending.
        classes: scored classes, ascending: those with at least one event.
        events: `{class: its events}`, merged.
        annotated: events of each of the rows as they were annotated, of common classes.
        notes: one line for everything left out.
        skipped: how many things were left out because something was wrong.
    """

    def __init__(
        self,
        scores: ScoreStore | ScoreTables,
        events: Mapping[str, Sequence[Event]],
        vocabulary: Vocabulary,
        durations: Mapping[str, float] | None,
        keep_empty_clips: bool,
    ):
        """Matches events with scores; see `evaluator.evaluate` for the arguments.

        Raises:
            InputError: nothing is left to score.
        """
        self.notes: list[str] = []
        self.skipped = 0
        model = scores.vocabulary
        own, theirs = model.common_with(vocabulary)
        model_label = dict(zip(theirs.tolist(), own.tolist(), strict=True))
        self.common: list[int] = sorted(model_label.values())
        kept = {
            clip_id: [
                Event(event.onset, event.offset, model_label[event.label])
                for event in clip_events
                if event.label in model_label
            ]
            for clip_id, clip_events in events.items()
        }
        used = {event.label for clip_events in events.values() for event in clip_events}
        self._note(
            [vocabulary.names[label] for label in sorted(used - model_label.keys())],
            "classes of the events are unknown to the model and not scored",
        )
        empty = [clip_id for clip_id, clip_events in kept.items() if not clip_events]
        if not keep_empty_clips:
            self._note(empty, "clips without an event of a common class left out")
            for clip_id in empty:
                del kept[clip_id]
        missing = [clip_id for clip_id in kept if scores.row(clip_id) is None]
        if kept and len(missing) == len(kept):
            raise InputError(
                f"none of the {len(kept)} clips with events has scores: events have ids "
                f"like {missing[0]!r}, scores like {scores.ids[0]!r}"
            )
        self._skip(missing, "clips with events have no scores and are not counted")
        unlisted = [clip_id for clip_id in scores.ids if clip_id not in events]
        self._note(unlisted, "clips with scores are not among the events' and left out")
        self.rows = [scores.row(i) for i in sorted(kept.keys() - set(missing))]
        self._ids = [scores.ids[row] for row in self.rows]
        self.durations = self._durations(scores, durations or {})
        self.annotated: list[list[Event]] = []
        self._collect_events(model, self._within_clips(kept))

    def _durations(self, scores, given: Mapping[str, float]) -> list[float]:
        found, unknown = [], []
        for clip_id, row in zip(self._ids, self.rows, strict=True):
            if clip_id in given:
                seconds = float(given[clip_id])
            elif scores.durations is not None:
                seconds = float(scores.durations[row])
            else:
                seconds = float(scores.timestamps(row)[-1])
                unknown.append(clip_id)
            if not 0 < seconds < math.inf:
                raise InputError(
                    f"clip {clip_id!r} has duration {seconds} s, expected a positive "
                    "number"
                )
            found.append(seconds)
        self._skip(
            unknown, "clips have no duration; the length of their scores is used"
        )
        return found

    def _within_clips(self, kept) -> dict[str, list[Event]]:
        found, outside = {}, []
        for clip_id, seconds in zip(self._ids, self.durations, strict=True):
            inside = [
                event
                for event in kept[clip_id]
                if 0 <= event.onset < min(event.offset, seconds)
            ]
            outside += [clip_id] * (len(kept[clip_id]) - len(inside))
            self.annotated.append(inside)
            found[clip_id] = merge_overlapping(inside)
        self._skip(
            outside, "events are empty, reversed or outside their clip and not counted"
        )
        return found

    def _collect_events(
        self, model: Vocabulary, events: Mapping[str, Sequence[Event]]
    ) -> None:
        found: dict[int, list[tuple[int, float, float]]] = {}
        for clip, clip_id in enumerate(self._ids):
            for onset, offset, label in events[clip_id]:
                found.setdefault(label, []).append((clip, onset, offset))
        self.classes = sorted(found)
        if not self.classes:
            raise InputError(
                "nothing to score: no clip with scores has a usable event of a class "
                f"that the model knows (such as {model.names[0]!r})"
            )
        silent = [name for c, name in enumerate(model.names) if c not in found]
        self._note(silent, "classes of the model have no true event and are not scored")
        self.events: dict[int, ClassEvents] = {}
        for label in self.classes:
            clips, onsets, offsets = zip(*found[label], strict=True)
            self.events[label] = ClassEvents(
                np.array(clips, np.int64),
                np.array(onsets, np.float64),
                np.array(offsets, np.float64),
            )

    def _note(self, what: Sequence[str], text: str) -> None:
        if what:
            self.notes.append(f"{len(what)} {text} ({examples(what)})")

    def _skip(self, what: Sequence[str], text: str) -> None:
        self._note(what, text)
        self.skipped += len(what)
