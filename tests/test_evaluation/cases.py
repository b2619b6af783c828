"""Random scores and events, and sed_scores_eval called on them as an oracle."""

import math

import numpy as np

from benchmarks.evaluation import writable_frame
from jaxsed.labels.events import Event, merge_overlapping
from jaxsed.labels.vocab import Vocabulary


def vocabulary(n_classes: int) -> Vocabulary:
    names = tuple(f"class {i}" for i in range(n_classes))
    return Vocabulary("test", names, tuple(f"/m/{i}" for i in range(n_classes)))


def random_events(rng, n_clips: int, n_classes: int, seconds: float = 10.0):
    """Events with two decimals; each class has one, clip k has k % 4."""
    events = {}
    for i in range(n_clips):
        found = []
        for _ in range(i % 4):
            onset = round(rng.uniform(0, seconds - 1), 2)
            offset = round(min(seconds, onset + rng.uniform(0.2, 4)), 2)
            found.append(Event(onset, offset, int(rng.integers(n_classes))))
        events[f"clip{i:03d}"] = found
    for c in range(n_classes):
        events[f"clip{c % n_clips:03d}"].append(Event(1.0 + c, 3.0 + c, c))
    return events


def random_logits(rng, events, n_classes: int, n_frames: int = 250) -> np.ndarray:
    """`[clips, t, c]`: slow noise, raised where an event is."""
    logits = rng.normal(size=(len(events), n_frames, n_classes))
    logits = np.cumsum(logits, axis=1) * 0.15 - 2
    for i, clip_events in enumerate(events.values()):
        for onset, offset, label in clip_events:
            logits[i, int(onset / 0.04) : int(offset / 0.04), label] += 2.0
    return logits


class MemoryScores:
    """Scores in memory with the reading side of a store; clips may differ.

    Args:
        clips: `{clip id: (frame borders in seconds [t + 1], scores [t, c])}`.
    """

    dtype = np.dtype(np.float64)
    durations = None

    def __init__(self, clips):
        self.ids = list(clips)
        self._clips = list(clips.values())
        self.vocabulary = vocabulary(self._clips[0][1].shape[1])
        self.frame_seconds = float(np.diff(self._clips[0][0]).mean())

    def row(self, clip_id):
        return self.ids.index(clip_id) if clip_id in self.ids else None

    def timestamps(self, row):
        return self._clips[row][0]

    def blocks(self, rows, columns):
        for place, row in enumerate(rows):
            scores = self._clips[row][1]
            yield (
                range(place, place + 1),
                [scores[:, column].astype(float) for column in columns],
            )


def by_library(clips, events, durations, width=12, classes=None):
    """What a user of sed_scores_eval computes: everything in memory, float64.

    The library wants every class to have an event, and gives segments without a frame
    the score 0, which is the lowest only of probabilities: clips are filled up to their
    last segment with frames that are never active.

    Args:
        clips: as of `MemoryScores`.
        events: of each of these clips.
        durations: of each of these clips.
        width: of the median filter, in frames.
        classes: those to evaluate.
    """
    import sed_scores_eval
    from scipy import ndimage

    n_classes = next(iter(clips.values()))[1].shape[1]
    classes = list(range(n_classes)) if classes is None else classes
    columns = ["onset", "offset", *(f"k{c}" for c in classes)]
    truth, filtered, covering = {}, {}, {}
    for clip_id, clip_events in events.items():
        kept = merge_overlapping(e for e in clip_events if e.label in classes)
        if not kept:
            continue
        truth[clip_id] = [(e.onset, e.offset, f"k{e.label}") for e in kept]
        borders, scores = clips[clip_id]
        scores = scores[:, classes].astype(float)
        if width > 1:
            scores = ndimage.median_filter(scores, size=(width, 1))
        table = np.column_stack([borders[:-1], borders[1:], scores])
        filtered[clip_id] = writable_frame()(table, columns=columns)
        end = math.ceil(durations[clip_id])
        rest = [borders[-1], end, *[-np.inf] * len(classes)]
        if borders[-1] <= end - 1:
            table = np.vstack([table, rest])
        covering[clip_id] = writable_frame()(table, columns=columns)
    durations = {clip_id: durations[clip_id] for clip_id in truth}
    psds, single, *_ = sed_scores_eval.intersection_based.psds(
        filtered,
        truth,
        durations,
        dtc_threshold=0.7,
        gtc_threshold=0.7,
        alpha_st=1,
        max_efpr=100,
    )
    with np.errstate(invalid="ignore"):
        pauroc, _ = sed_scores_eval.segment_based.auroc(
            covering, truth, durations, segment_length=1.0, max_fpr=0.1
        )
    of_classes = [pauroc[f"k{c}"] for c in classes]
    return {
        "psds1": psds,
        "psds1_macro": float(np.mean(list(single.values()))),
        "pauroc": np.nanmean(of_classes) if np.isfinite(of_classes).any() else np.nan,
        "class_psds1": {int(k[1:]): v for k, v in single.items()},
        "class_pauroc": {int(k[1:]): v for k, v in pauroc.items() if k != "mean"},
    }


def psds_by_library(clips, events, durations, width, scenario):
    """Returns sed_scores_eval's PSDS of any scenario, and that of each class.

    Args:
        clips: as of `MemoryScores`; every class has an event.
        events: of each of these clips.
        durations: of each of these clips.
        width: of the median filter, in frames.
        scenario: a `psds.Scenario`.
    """
    import sed_scores_eval
    from scipy import ndimage

    n_classes = next(iter(clips.values()))[1].shape[1]
    columns = ["onset", "offset", *(f"k{c}" for c in range(n_classes))]
    truth, filtered = {}, {}
    for clip_id, clip_events in events.items():
        merged = merge_overlapping(clip_events)
        truth[clip_id] = [(e.onset, e.offset, f"k{e.label}") for e in merged]
        borders, scores = clips[clip_id]
        scores = scores.astype(float)
        if width > 1:
            scores = ndimage.median_filter(scores, size=(width, 1))
        table = np.column_stack([borders[:-1], borders[1:], scores])
        filtered[clip_id] = writable_frame()(table, columns=columns)
    value, single, *_ = sed_scores_eval.intersection_based.psds(
        filtered,
        truth,
        durations,
        dtc_threshold=scenario.detection_tolerance,
        gtc_threshold=scenario.ground_truth_intersection,
        cttc_threshold=scenario.cross_trigger_tolerance,
        alpha_ct=scenario.cross_trigger_weight,
        alpha_st=scenario.variance_penalty,
        max_efpr=scenario.max_false_alarms_per_hour,
    )
    return value, [single[f"k{c}"] for c in range(n_classes)]


def in_a_store(logits, events):
    """Returns `[clips, t, c]` as a store holds them, with their borders, for the library."""
    times = np.round(np.arange(logits.shape[1] + 1) * 0.04, 6)
    half = np.asarray(logits, np.float16)
    return {clip_id: (times, clip) for clip_id, clip in zip(events, half, strict=True)}
