"""Post-processing with settings for each class, chosen on scores of validation data.

Every candidate is evaluated on the validation data, and each class gets the one with
which it scores best. Classes are independent of each other in PSDS without cross triggers
and in event-based F-measures, so this finds the best combination of the candidates.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxsed.errors import check_known
from jaxsed.evaluation import evaluator
from jaxsed.evaluation.bounding_boxes import BoxSettings
from jaxsed.evaluation.median import PAPER_MEDIAN_SECONDS
from jaxsed.evaluation.postprocess import Postprocessing
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

METRICS = ("psds1", "psds2", "event_f1")
# Up to 2 s as in the package sebbs (`median_filter.tune`), finer where sounds are short.
# The paper's width comes first: it stays where none is better.
MEDIAN_SECONDS = (PAPER_MEDIAN_SECONDS, 0.0, 0.12, 0.2, 0.32, 0.72, 1.0, 1.4, 2.0)
# The package's (`csebbs.tune`): a filter, and one of the two conditions.
BOXES = tuple(
    BoxSettings(step_seconds, *limits)
    for step_seconds in (0.32, 0.48, 0.64)
    for limits in (
        *((difference, math.inf) for difference in (0.15, 0.2, 0.3)),
        *((math.inf, ratio) for ratio in (1.5, 2.0, 3.0)),
    )
)
CANDIDATES = {"class_medians": MEDIAN_SECONDS, "sebb": BOXES}


class Tuned(NamedTuple):
    """What tuning found.

    Attributes:
        postprocessing: with the settings of every class that has an event.
        best: `{class name: value of the metric}` with these settings.
        first: the same with the first candidate for all classes.
        notes: one line for everything that was left out, with its number.
        skipped: how many things were left out because something was wrong with them.
    """

    postprocessing: Postprocessing
    best: dict[str, float]
    first: dict[str, float]
    notes: Sequence[str] = ()
    skipped: int = 0


def tune(
    method: str,
    scores: ScoreStore | ScoreTables,
    events: Mapping[str, Sequence[Event]],
    vocabulary_of_truth: Vocabulary,
    durations: Mapping[str, float] | None = None,
    metric: str = "psds1",
    *,
    threshold: float = 0.5,
    keep_empty_clips: bool = False,
    progress: bool = True,
) -> Tuned:
    """Chooses the settings of each class.

    Args:
        method: one of `CANDIDATES`.
        scores: of validation data, as are the others; see `evaluator.evaluate`.
        events: true events of each clip.
        vocabulary_of_truth: meaning of their labels.
        durations: clip lengths in seconds.
        metric: one of `METRICS`, of single classes.
        threshold: of detections, for `event_f1`.
        keep_empty_clips: count the false alarms of clips without events.
        progress: show a progress bar on a terminal.

    Raises:
        InputError: unknown method or metric, or nothing to score.
    """
    from tqdm import tqdm

    check_known("method", method, CANDIDATES)
    check_known("metric", metric, METRICS)
    best: dict[str, float] = {}
    first: dict[str, float] = {}
    chosen: dict[str, Any] = {}
    candidates = CANDIDATES[method]
    for candidate in tqdm(
        candidates, desc="tuning", unit="candidate", disable=None if progress else True
    ):
        classes = dict.fromkeys(scores.vocabulary.names, candidate)
        result = evaluator.evaluate(
            scores,
            events,
            vocabulary_of_truth,
            durations,
            [metric],
            postprocess=Postprocessing(method, threshold=threshold, classes=classes),
            keep_empty_clips=keep_empty_clips,
            progress=False,
        )
        values = {row["class"]: row[metric] for row in result.per_class}
        first = first or values
        for name, value in values.items():
            if name not in best or value > best[name]:
                best[name], chosen[name] = value, candidate
    tuned = Postprocessing(method, threshold=threshold, classes=chosen)
    return Tuned(tuned, best, first, result.notes, result.skipped)
