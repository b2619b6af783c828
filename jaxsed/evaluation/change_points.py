"""Where the scores of a class rise most and fall most: candidates for events.

Ebbers et al. 2024, "Sound Event Bounding Boxes" (arXiv 2406.04212), section on change
detection: at each time, a step filter takes the mean score of what follows minus that of
what came before. Its highest outputs are onsets and its lowest ones offsets.

The filter's output is linear between the times at which one of its ends or its middle
passes a frame's border. It is computed at these breakpoints from the integral of the
scores, for many rows at a time and in pieces of any length.
"""

from typing import NamedTuple

import numpy as np

# Times closer together are one: a tenth of sed_scores_eval's precision.
_TIME_DECIMALS = 7
# The filter's output, a difference of sums of scores, rises where it grows by more than
# rounding errors.
_RISE = 1e-12


class Candidates(NamedTuple):
    """Candidates for events in some rows, by row and onset, `[k]` each.

    Attributes:
        row: int64.
        onset: float64, seconds.
        offset: float64, seconds.
        area: float64, integral of the scores.
        highest: float64, highest score.
        gap_lowest: float64, lowest score between the candidate before and this one.
        gap_area: float64, integral of the scores there.
    """

    row: np.ndarray
    onset: np.ndarray
    offset: np.ndarray
    area: np.ndarray
    highest: np.ndarray
    gap_lowest: np.ndarray
    gap_area: np.ndarray

    def these(self, chosen: np.ndarray | slice) -> "Candidates":
        """Returns some of them: a mask, a slice or indices."""
        return Candidates(*(column[chosen] for column in self))


class _Parts(NamedTuple):
    """What lies between change points, by row and time: gaps and candidates in turns."""

    row: np.ndarray
    onset: np.ndarray
    offset: np.ndarray
    area: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    def these(self, chosen: np.ndarray | slice) -> "_Parts":
        return _Parts(*(column[chosen] for column in self))


class ChangePoints:
    """Candidates of rows of scores that arrive in pieces: those of the whole.

    Held are the frames that the filter still needs, and of each row the part that has not
    ended and the one before it.

    Args:
        n_rows: rows.
        step_seconds: length of the filter.
    """

    def __init__(self, n_rows: int, step_seconds: float):
        self._half = step_seconds / 2
        self._scores = np.zeros((n_rows, 0))
        self._borders = np.zeros(0)
        self._known = 0.0  # seconds up to which change points have been looked for
        self._rises = np.ones(n_rows, bool)  # the filter's output does, up to there
        none = np.zeros(n_rows)
        self._open = _Parts(np.arange(n_rows), none, none, none, none + np.inf, none)
        self._open_is_candidate = np.zeros(n_rows, bool)
        self._before_open = self._open

    def add(self, scores: np.ndarray, borders: np.ndarray) -> Candidates:
        """Takes the next frames; returns the candidates that have ended with them.

        Args:
            scores: `[r, k]`, probabilities.
            borders: of these frames in seconds, `[k + 1]`.
        """
        self._scores = np.concatenate([self._scores, scores], axis=1)
        self._borders = np.append(self._borders[:-1], borders)
        return self._ended(self._borders[-1] - self._half, last=False)

    def finish(self) -> Candidates:
        """Returns the candidates that were left."""
        if not len(self._borders):
            return Candidates(self._open.row[:0], *[np.zeros(0)] * 6)
        return self._ended(self._borders[-1], last=True)

    def _ended(self, until: float, last: bool) -> Candidates:
        times = self._breakpoints(until)
        parts, begins = self._open.these(slice(0)), np.zeros(0, bool)
        if len(times) > 1:
            parts, begins = self._divided(times)
            self._known = times[-1]
            first = np.searchsorted(self._borders, self._known - self._half, "right")
            first = max(first - 1, 0)
            self._scores = self._scores[:, first:]
            self._borders = self._borders[first:]
        return self._closed(parts, begins, last)

    def _breakpoints(self, until: float) -> np.ndarray:
        """Returns the times between which the filter's output is linear, `[m]`."""
        borders, half = self._borders, self._half
        times = np.concatenate([borders, borders - half, borders + half])
        times = np.unique(np.round(times, _TIME_DECIMALS))
        return np.append(self._known, times[(times > self._known) & (times <= until)])

    def _divided(self, times: np.ndarray) -> tuple[_Parts, np.ndarray]:
        """Divides the time between breakpoints into parts.

        Returns:
            The parts, and which begin with a change point: all but the first of a row do,
            and that one may do, too.
        """
        integral = _Integral(self._scores, self._borders)
        now = integral.until(times)
        output = integral.until(times + self._half) + integral.until(times - self._half)
        rises = np.diff(output - 2 * now, axis=1) > _RISE
        before = np.concatenate([self._rises[:, None], rises[:, :-1]], axis=1)
        self._rises = rises[:, -1]
        # Where the output rises no longer is an onset, where it rises again an offset.
        changes = rises != before
        begins = changes.copy()
        begins[:, 0] = True
        first = np.flatnonzero(begins)
        row, start = np.divmod(first, rises.shape[1])
        stop = np.append(start[1:], 0)
        stop[np.append(row[1:] != row[:-1], True)] = rises.shape[1]
        score = integral.scores((times[1:] + times[:-1]) / 2).ravel()
        parts = _Parts(
            row,
            times[start],
            times[stop],
            now[row, stop] - now[row, start],
            np.minimum.reduceat(score, first),
            np.maximum.reduceat(score, first),
        )
        return parts, changes.ravel()[first]

    def _closed(self, parts: _Parts, begins: np.ndarray, last: bool) -> Candidates:
        """Puts parts together with the open ones; returns candidates that have ended."""
        n_rows = len(self._open.row)
        order = np.argsort(np.append(self._open.row, parts.row), kind="stable")
        row, onset, offset, area, lowest, highest = (
            np.append(*pair)[order] for pair in zip(self._open, parts, strict=True)
        )
        first = np.flatnonzero(np.append(np.ones(n_rows, bool), begins)[order])
        whole = _Parts(
            row[first],
            onset[first],
            offset[np.append(first[1:], len(row)) - 1],
            np.add.reduceat(area, first),
            np.minimum.reduceat(lowest, first),
            np.maximum.reduceat(highest, first),
        )
        n_parts = np.bincount(whole.row, minlength=n_rows)
        newest = np.cumsum(n_parts) - 1
        oldest = newest - n_parts + 1
        rank = np.arange(len(whole.row)) - oldest[whole.row]
        is_candidate = (rank % 2 == 1) != self._open_is_candidate[whole.row]
        before = _Parts(*(np.roll(column, 1) for column in whole))
        for column, carried in zip(before, self._before_open, strict=True):
            column[oldest] = carried
        ended = is_candidate.copy()
        if not last:
            ended[newest] = False
            self._open, self._before_open = whole.these(newest), before.these(newest)
            self._open_is_candidate = is_candidate[newest]
        found, gap = whole.these(ended), before.these(ended)
        return Candidates(
            found.row,
            found.onset,
            found.offset,
            found.area,
            found.highest,
            gap.lowest,
            gap.area,
        )


class _Integral:
    """The integral over time of rows of scores, which are 0 outside their frames.

    Args:
        scores: `[r, t]`.
        borders: `[t + 1]`, seconds.
    """

    def __init__(self, scores: np.ndarray, borders: np.ndarray):
        nothing = np.zeros((len(scores), 1))
        self._scores = np.concatenate([nothing, scores, nothing], axis=1, dtype=float)
        sums = np.cumsum(self._scores[:, 1:-1] * np.diff(borders), axis=1)
        self._sums = np.concatenate([nothing, nothing, sums], axis=1)
        self._borders = borders
        self._starts = np.append(borders[0], borders)

    def until(self, times: np.ndarray) -> np.ndarray:
        """Returns the integral from the first border to each time, `[r, m]`."""
        frame = np.searchsorted(self._borders, times, "right")
        since = times - self._starts[frame]
        return self._sums[:, frame] + self._scores[:, frame] * since

    def scores(self, times: np.ndarray) -> np.ndarray:
        """Returns the scores at some times, `[r, m]`."""
        return self._scores[:, np.searchsorted(self._borders, times, "right")]
