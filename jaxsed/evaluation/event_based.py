"""Event-based counts: a detection is right if its onset (and offset) is near a true one.

sed_eval's `EventBasedMetrics` with its default, optimal matching: of all ways to pair
true and detected events of a class, one with the most pairs.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxsed.errors import InputError
from jaxsed.evaluation.counts import Counts
from jaxsed.labels.events import Event, check_labels


@dataclasses.dataclass(frozen=True)
class Collar:
    """How far a detection may be off.

    Attributes:
        seconds: at the onset, and at the offset.
        offsets: offsets count as well.
        part_of_length: at the offset, a part of the true event's length is allowed if
            that is more.
    """

    seconds: float
    offsets: bool = False
    part_of_length: float = 0.0


# HEAR (Turian et al. 2022), task metadata of dcase2016_task2 and maestro_5h.
ONSET_50_MS = Collar(0.05)
ONSET_200_MS = Collar(0.2)
ONSET_OFFSET_50_MS_20_PERCENT = Collar(0.05, offsets=True, part_of_length=0.2)
# DCASE challenges, task 4 (DESED): event-based F.
EVENT_BASED = Collar(0.2, offsets=True, part_of_length=0.2)


def event_counts(
    truth: Mapping[str, Sequence[Event]],
    detected: Mapping[str, Sequence[Event]],
    n_classes: int,
    collar: Collar,
) -> Counts:
    """Counts true, detected and correctly detected events.

    Args:
        truth: true events of every clip.
        detected: detections; a clip that is not there has none.
        n_classes: labels are below it.
        collar: how far a detection may be off.

    Raises:
        InputError: detections of a clip that has no truth, or an unknown label.
    """
    check_clips(truth, detected)
    reference = np.zeros(n_classes, np.int64)
    estimated, correct = np.zeros_like(reference), np.zeros_like(reference)
    for clip, true_events in truth.items():
        true_times = _by_class(true_events, n_classes)
        said_times = _by_class(detected.get(clip, ()), n_classes)
        for label, times in true_times.items():
            reference[label] += len(times)
        for label, times in said_times.items():
            estimated[label] += len(times)
            if label in true_times:
                correct[label] += matched(true_times[label], times, collar)
    return Counts(reference, estimated, correct)


def matched(true_times: np.ndarray, said_times: np.ndarray, collar: Collar) -> int:
    """Returns how many events of a class can be paired, each once.

    Args:
        true_times: `[e, 2]`, onsets and offsets in seconds.
        said_times: `[g, 2]`, the same of the detections.
        collar: how far they may be apart.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    distance = np.abs(true_times[:, None] - said_times)  # [e, g, 2]
    near = distance[..., 0] <= collar.seconds
    if collar.offsets:
        length = true_times[:, 1:] - true_times[:, :1]
        allowed = np.maximum(collar.seconds, collar.part_of_length * length)
        near &= distance[..., 1] <= allowed
    if not near.any():
        return 0
    pairs = maximum_bipartite_matching(csr_matrix(near), perm_type="column")
    return int((pairs >= 0).sum())


def check_clips(truth: Mapping[str, object], detected: Mapping[str, object]) -> None:
    """Refuses detections of clips that nothing is known of.

    Raises:
        InputError: there is one.
    """
    unknown = [clip for clip in detected if clip not in truth]
    if unknown:
        raise InputError(
            f"{len(unknown)} clips have detections but no truth (first: {unknown[0]!r}): "
            "list every evaluated clip in the truth, with no events if it has none"
        )


def _by_class(events: Sequence[Event], n_classes: int) -> dict[int, np.ndarray]:
    times: dict[int, list] = {}
    check_labels(events, n_classes)
    for event in events:
        times.setdefault(event.label, []).append((event.onset, event.offset))
    return {label: np.array(pairs, float) for label, pairs in times.items()}
