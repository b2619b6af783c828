"""Scores and events as pandas DataFrames, for people at a prompt and in notebooks."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxsed.labels.events import ScoredEvent

if TYPE_CHECKING:  # half a second that `jaxsed detect` does not need
    import pandas as pd

EVENT_COLUMNS = ("onset", "offset", "event_label", "score")


def of_scores(
    scores: np.ndarray,
    labels: Sequence[str],
    frame_seconds: float,
    duration_seconds: float,
) -> "pd.DataFrame":
    """Returns frame scores in sed_scores_eval's format.

    Args:
      scores: `[t, c]`, t > 0.
      labels: Names of the c classes.
      frame_seconds: Length of a frame.
      duration_seconds: Length of the sound, at which the last frame ends.

    Returns:
      A row a frame: `onset`, `offset` (seconds) and a column for every class.
    """
    import pandas as pd

    borders = np.arange(len(scores) + 1) * frame_seconds
    borders[-1] = duration_seconds
    table = pd.DataFrame(scores, columns=list(labels))
    table.insert(0, "onset", borders[:-1])
    table.insert(1, "offset", borders[1:])
    return table


def of_events(events: Iterable[ScoredEvent], labels: Sequence[str]) -> "pd.DataFrame":
    """Returns a row an event: `EVENT_COLUMNS`, times in seconds.

    Args:
      events: Any number of them.
      labels: Names of the classes.
    """
    import pandas as pd

    rows = [
        (event.onset, event.offset, labels[event.label], event.score)
        for event in events
    ]
    table = pd.DataFrame(rows, columns=list(EVENT_COLUMNS))
    # Of no rows, pandas would make columns of objects.
    return table.astype({"onset": float, "offset": float, "score": float})
