"""Random scores and events, and the library called directly on them as an oracle."""

import numpy as np

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


def by_library(logits, events, durations, width=12, classes=None):
    """What a user of sed_scores_eval computes: everything in memory, float64."""
    import pandas as pd
    import sed_scores_eval
    from scipy import ndimage

    class Frame(pd.DataFrame):
        @property
        def _constructor(self):
            return Frame

        def to_numpy(self, *args, **kwargs):
            return np.array(super().to_numpy(*args, **kwargs))

    classes = list(range(logits.shape[2])) if classes is None else classes
    columns = ["onset", "offset", *(f"k{c}" for c in classes)]
    truth, scores = {}, {}
    for i, (clip_id, clip_events) in enumerate(events.items()):
        kept = merge_overlapping(e for e in clip_events if e.label in classes)
        if kept:
            truth[clip_id] = [(e.onset, e.offset, f"k{e.label}") for e in kept]
            filtered = ndimage.median_filter(logits[i], size=(width, 1))
            times = np.arange(len(filtered) + 1) / 25
            table = np.column_stack([times[:-1], times[1:], filtered[:, classes]])
            scores[clip_id] = Frame(table.astype(float), columns=columns)
    durations = {clip_id: durations[clip_id] for clip_id in truth}
    psds, single, *_ = sed_scores_eval.intersection_based.psds(
        scores,
        truth,
        durations,
        dtc_threshold=0.7,
        gtc_threshold=0.7,
        alpha_st=1,
        max_efpr=100,
    )
    pauroc, _ = sed_scores_eval.segment_based.auroc(
        scores, truth, durations, segment_length=1.0, max_fpr=0.1
    )
    return {
        "psds1": psds,
        "psds1_macro": float(np.mean(list(single.values()))),
        "pauroc": pauroc["mean"],
        "class_psds1": {int(k[1:]): v for k, v in single.items()},
        "class_pauroc": {int(k[1:]): v for k, v in pauroc.items() if k != "mean"},
    }
