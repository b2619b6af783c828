"""Which slice of which clip a row is, where rows are the slices of clips, clip by clip."""

from collections.abc import Sequence

import numpy as np


class SliceRows:
    """Rows and what they are slices of.

    Args:
        clip_frames: int `[clips]`, label frames that count of all slices of a clip: those
            of a whole slice where it is the only one.
        slice_frames: label frames of a slice. The last one of a clip of several is filled
            up.

    Attributes:
        clip_frames: as given, int64.
        slice_frames: as given.
        first_rows: int64 `[clips + 1]`, the first slice of each clip, and behind them the
            number of slices.
    """

    def __init__(self, clip_frames: Sequence[int] | np.ndarray, slice_frames: int):
        self.clip_frames = np.asarray(clip_frames, np.int64)
        self.slice_frames = slice_frames
        n_slices = -(-self.clip_frames // slice_frames)
        self.first_rows = np.append(0, np.cumsum(n_slices))

    def __len__(self) -> int:
        return int(self.first_rows[-1])

    @property
    def any_several(self) -> bool:
        """Whether any clip has more than one slice."""
        return len(self) > len(self.clip_frames)

    def of_clip(self, clip: int) -> range:
        """Returns the rows of a clip's slices."""
        return range(int(self.first_rows[clip]), int(self.first_rows[clip + 1]))

    def slices(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns where some rows lie, int64 `[b]` each.

        Returns:
            Their clips, the label frames of the clips with which they begin, and how many
            frames of them count.
        """
        clips = np.searchsorted(self.first_rows, rows, side="right") - 1
        first_frames = (rows - self.first_rows[clips]) * self.slice_frames
        left = self.clip_frames[clips] - first_frames
        return clips, first_frames, np.minimum(left, self.slice_frames)

    def weights(self, rows: np.ndarray) -> np.ndarray:
        """Returns which part of its clip's frames each row has, float64 `[b]`."""
        clips, _, n_frames = self.slices(rows)
        return n_frames / self.clip_frames[clips]
