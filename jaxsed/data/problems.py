"""What can be wrong with a data set, and what is done about it.

Nothing wrong stops the rest, and nothing wrong is silent: every finding is a row of
`problems.tsv` and counted by kind in the manifest.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxsed.errors import InputError
from jaxsed.labels.clip_names import legible
from jaxsed.labels.events import Event, merge_overlapping
from jaxsed.labels.vocab import Vocabulary

# Kind -> what is done about it; in the order of the summary.
KINDS = {
    "missing": "no sound, or not readable: clip left out",
    "undecodable": "not a sound file that libsndfile can decode: clip left out",
    "empty": "sound file without samples: clip left out",
    "non_finite": "NaN or infinite samples: clip left out",
    "no_events": "no usable event left: clip left out",
    "unlabelled": "nothing says what sounds in it: recording left out",
    "truncated": "sound file is cut off: what is there is used",
    "short": "more than 0.1 s shorter than it should be: used",
    "long": "more than 0.1 s longer than it should be: used",
    "silent": "nothing but digital silence: used",
    "duplicate_audio": "several sound files for a clip: the first is used",
    "unreadable_line": "line of a table, or row, that cannot be read: skipped",
    "unknown_split": "split is none of those known: line of a table skipped",
    "unknown_label": "class is not in the vocabulary: event skipped",
    "several_labels": "a second label where clips have one: skipped",
    "reversed": "offset not after onset: event skipped",
    "negative_time": "starts before the clip: cut to it, or skipped if wholly outside",
    "outside_clip": "ends after the clip: cut to it, or skipped if wholly outside",
    "duplicate": "the same event twice: used once",
    "overlap": "overlaps another event of its class: merged",
}

# Onset and offset of a label that is of the clip as a whole, however long it is.
WHOLE_CLIP = (0.0, math.inf)
# Onset, offset and label of what says that no event is in the clip, which is more than
# that none is known.
NOTHING = (0.0, 0.0, "")

# Coding adds or takes some milliseconds, and annotators end events at 10.0 s in clips
# of 9.98 s: within this much nothing is wrong.
DURATION_TOLERANCE_SECONDS = 0.1


class Problem(NamedTuple):
    """One finding: the clip ("" if none), a kind of `KINDS`, and what was found."""

    clip: str
    kind: str
    detail: str


class RawEvent(NamedTuple):
    """A piece of annotation as it was read.

    Attributes:
      onset: Seconds.
      offset: Seconds.
      label: As spelled.
      line: Of the table; 0 if it is not from a table.
    """

    onset: float
    offset: float
    label: str
    line: int


def says_nothing(raw_events: Sequence[RawEvent]) -> bool:
    """Returns whether the annotation of a clip is that it has no event."""
    return bool(raw_events) and all(raw[:3] == NOTHING for raw in raw_events)


def clean_events(
    clip: str,
    raw_events: Sequence[RawEvent],
    vocabulary: Vocabulary,
    duration_seconds: float | None,
    merge: bool = True,
) -> tuple[list[Event], list[Problem]]:
    """Checks the annotation of one clip.

    Args:
      clip: Its id, for the findings.
      raw_events: What was read.
      vocabulary: The classes to keep.
      duration_seconds: Length of the sound; None if unknown (no sound): times after the
        end are then not looked for.
      merge: Whether events of a class that overlap or touch become one.

    Returns:
      `(events, problems)`: valid events inside the clip, sorted by onset; if merged,
      those of a class disjoint and not touching.
    """
    events: list[Event] = []
    problems: list[Problem] = []
    seen: set[Event] = set()
    end = math.inf if duration_seconds is None else duration_seconds

    def found(kind: str, raw: RawEvent, what: str) -> None:
        line = f"line {raw.line}: " if raw.line else ""
        is_whole = (raw.onset, raw.offset) == WHOLE_CLIP
        times = "" if is_whole else f" {raw.onset:g} to {raw.offset:g} s"
        problems.append(Problem(clip, kind, f"{line}{raw.label}{times}: {what}"))

    for raw in raw_events:
        if raw[:3] == NOTHING:
            continue
        try:
            label = vocabulary.index(raw.label)
        except InputError as error:
            found("unknown_label", raw, str(error))
            continue
        onset, offset = raw.onset, raw.offset
        if not onset < offset:
            found("reversed", raw, "skipped")
            continue
        if onset < 0:
            found("negative_time", raw, "cut at 0" if offset > 0 else "skipped")
            onset = 0.0
        reaches_over = end + DURATION_TOLERANCE_SECONDS < offset < math.inf
        if reaches_over or onset >= end:
            what = (
                f"cut at {end:g}" if onset < end else f"skipped, clip ends at {end:g}"
            )
            found("outside_clip", raw, what)
        offset = min(offset, end)
        if not onset < offset:
            continue
        event = Event(onset, offset, label)
        if event in seen:
            found("duplicate", raw, "used once")
            continue
        if merge and any(
            other.label == label and onset < other.offset and other.onset < offset
            for other in events
        ):
            found("overlap", raw, "merged")
        seen.add(event)
        events.append(event)
    return merge_overlapping(events) if merge else sorted(events), problems


def count_kinds(problems: Iterable[Problem]) -> dict[str, int]:
    """Returns kind -> number of findings, in the order of `KINDS`, none that is 0."""
    counts = Counter(problem.kind for problem in problems)
    return {kind: counts[kind] for kind in KINDS if counts[kind]}


def to_tsv(problems: Iterable[Problem]) -> str:
    """Returns the text of `problems.tsv`: a header, then one finding a line."""
    lines = ["clip\tkind\tdetail"]
    lines += [
        "\t".join(" ".join(legible(cell).split()) for cell in row) for row in problems
    ]
    return "\n".join(lines) + "\n"
