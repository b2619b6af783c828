"""Which clips, classes and true events an evaluation counts."""

import math
from collections.abc import Mapping, Sequence

from jaxsed.errors import InputError
from jaxsed.evaluation.result import examples
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.evaluation.sed_library import GroundTruth
from jaxsed.labels.events import Event, merge_overlapping
from jaxsed.labels.vocab import Vocabulary


class Truth:
    """The clips, classes and events that take part, and what does not and why.

    Class indices are those of the scores' vocabulary.

    Attributes:
        rows: rows of the scores that take part, in the order of their sorted ids.
        durations: `{clip id: seconds}` of these clips.
        classes: scored classes, ascending: those with at least one event.
        n_events: `{class: number of events}` after merging.
        seconds: `{class: seconds of its events}`.
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
        self.rows = [scores.row(i) for i in sorted(kept.keys() - set(missing))]
        self._ids = [scores.ids[row] for row in self.rows]
        self.durations = self._durations(scores, durations or {})
        self._events = self._within_clips(kept)
        self._count_classes(model)

    def _durations(self, scores, given: Mapping[str, float]) -> dict[str, float]:
        found, unknown = {}, []
        for clip_id, row in zip(self._ids, self.rows, strict=True):
            if clip_id in given:
                found[clip_id] = float(given[clip_id])
            elif scores.durations is not None:
                found[clip_id] = float(scores.durations[row])
            else:
                found[clip_id] = float(scores.timestamps(row)[-1])
                unknown.append(clip_id)
            if not 0 < found[clip_id] < math.inf:
                raise InputError(
                    f"clip {clip_id!r} has duration {found[clip_id]} s, expected a "
                    "positive number"
                )
        self._skip(
            unknown, "clips have no duration; the length of their scores is used"
        )
        return found

    def _within_clips(self, kept) -> dict[str, list[Event]]:
        found, outside = {}, []
        for clip_id in self._ids:
            inside = [
                event
                for event in kept[clip_id]
                if 0 <= event.onset < min(event.offset, self.durations[clip_id])
            ]
            outside += [clip_id] * (len(kept[clip_id]) - len(inside))
            found[clip_id] = merge_overlapping(inside)
        self._skip(
            outside, "events are empty, reversed or outside their clip and not counted"
        )
        return found

    def _count_classes(self, model: Vocabulary) -> None:
        self.n_events: dict[int, int] = {}
        self.seconds: dict[int, float] = {}
        for clip_events in self._events.values():
            for onset, offset, label in clip_events:
                self.n_events[label] = self.n_events.get(label, 0) + 1
                self.seconds[label] = self.seconds.get(label, 0.0) + offset - onset
        self.classes = sorted(self.n_events)
        if not self.classes:
            raise InputError(
                "nothing to score: no clip with scores has a usable event of a class "
                f"that the model knows (such as {model.names[0]!r})"
            )
        silent = [n for c, n in enumerate(model.names) if c not in self.n_events]
        self._note(silent, "classes of the model have no true event and are not scored")

    def ground_truth(self, labels: Sequence[int]) -> GroundTruth:
        """Returns the events of some classes as sed_scores_eval wants them."""
        wanted = {int(label) for label in labels}
        return {
            clip_id: [
                (float(event.onset), float(event.offset), str(event.label))
                for event in clip_events
                if event.label in wanted
            ]
            for clip_id, clip_events in self._events.items()
        }

    def _note(self, what: Sequence[str], text: str) -> None:
        if what:
            self.notes.append(f"{len(what)} {text} ({examples(what)})")

    def _skip(self, what: Sequence[str], text: str) -> None:
        self._note(what, text)
        self.skipped += len(what)
