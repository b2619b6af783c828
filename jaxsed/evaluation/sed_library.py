"""sed_scores_eval, made safe to use: import, score frames, ground truth.

sed_scores_eval 0.0.4 (Ebbers et al.; the exact PSDS and pAUROC of the papers) has four
traps, and this file is where they are met:

1. Importing it fails with setuptools >= 82, which no longer has `pkg_resources`
   (needed by its dependency dcase_util). The import happens here alone, when a measure
   is computed, and a failure says what to install.
2. It writes into arrays that pandas 3 hands out read-only. `_frame_type` makes frames
   whose `to_numpy` copies; that works with any pandas.
3. It insists on at least one true event for every class: the callers drop the others.
4. It wants the score frames of all clips at once (15 GB for AudioSet Strong).
   `ScoreFrames` makes each frame when it is asked for.
"""

import functools
import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from jaxsed.errors import InputError

# {clip id: [(onset seconds, offset seconds, class key)]}
GroundTruth = dict[str, list[tuple[float, float, str]]]


def load(module: str) -> ModuleType:
    """Imports a module of the library, for example `segment_based`.

    By name, because `sed_scores_eval.intersection_based.psds` as an attribute is the
    function, which hides the module of that name.

    Raises:
        InputError: the library, or `pkg_resources`, is not installed.
    """
    try:
        return importlib.import_module(f"sed_scores_eval.{module}")
    except ModuleNotFoundError as error:
        raise InputError(
            f"PSDS and pAUROC need {error.name!r}, which is not installed; run: "
            "pip install sed_scores_eval 'setuptools<82'"
        ) from error


@functools.cache
def _frame_type() -> type:
    import pandas as pd

    class WritableFrame(pd.DataFrame):
        """A DataFrame whose `to_numpy` gives an array that may be written to."""

        @property
        def _constructor(self) -> Callable:
            return WritableFrame  # selecting columns must keep the type

        def to_numpy(self, *args: Any, **kwargs: Any) -> np.ndarray:
            return np.array(super().to_numpy(*args, **kwargs))

    return WritableFrame


class ScoreFrames(dict):
    """`{clip id: score frame}` as sed_scores_eval wants it; frames are made on access.

    A dict by type because the library asks for one. It reads `keys()` and single items.

    Args:
        clips: `{clip id: (frame borders in seconds [t + 1], scores [t, c])}`.
        keys: names of the c columns. Class names of the user are not fit for this: the
            library refuses some, and `onset` would clash with the time column.
    """

    def __init__(
        self, clips: dict[str, tuple[np.ndarray, np.ndarray]], keys: Sequence[str]
    ):
        super().__init__(clips)
        self._columns = ["onset", "offset", *keys]

    def __getitem__(self, clip_id: str) -> Any:
        borders, scores = super().__getitem__(clip_id)
        table = np.column_stack([borders[:-1], borders[1:], scores])
        return _frame_type()(table.astype(np.float64), columns=self._columns)
