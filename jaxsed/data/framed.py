"""Data together with the frames that a frozen encoder made of them."""

from collections.abc import Sequence

import numpy as np

from jaxsed.data.frame_store import StoredFrames
from jaxsed.data.joined import JoinedData
from jaxsed.data.slices import Slices


class FramedSlices(Slices):
    """Slices whose frames are stored; no sound is read.

    Args:
        data: as of `Slices`.
        clip_seconds: likewise.
        most: likewise.
        stored: frames of these very slices.

    Attributes:
        encoder_hash: identifies the parameters that the frames are of.
    """

    def __init__(
        self, data, clip_seconds: float, most: int | None, stored: StoredFrames
    ):
        super().__init__(data, clip_seconds, most)
        if len(stored) != len(self):
            raise ValueError(f"frames of {len(stored)} slices for {len(self)}")
        self._arguments = data, clip_seconds, most, stored
        self._stored = stored
        self.encoder_hash: str = stored.store.encoder["sha256"]

    def __reduce__(self):
        return FramedSlices, self._arguments

    def frames(self, i: int) -> dict[str, np.ndarray]:
        """Returns what the encoder made of slice `i`, float16 `[...]` by name.

        Raises:
            InputError: the store is damaged there.
        """
        return self._stored[i]


class JoinedFrames(JoinedData):
    """Several of those, read as one.

    Attributes:
        encoder_hash: identifies the parameters that the frames are of.
    """

    def __init__(self, parts: Sequence[FramedSlices]):
        """Joins them; raises as `JoinedData`."""
        super().__init__(parts)
        self.encoder_hash = parts[0].encoder_hash

    def __reduce__(self):
        return JoinedFrames, (self.parts,)

    @property
    def clips(self) -> JoinedData:
        """The data whose clips are sliced."""
        return JoinedData([part.data for part in self.parts])

    def place_in_clip(self, i: int) -> tuple[str, int]:
        """As `Slices.place_in_clip`."""
        part, row = self._at(i)
        return part.place_in_clip(row)

    def frames(self, i: int) -> dict[str, np.ndarray]:
        """Returns what the encoder made of slice `i`; as `FramedSlices.frames`."""
        part, row = self._at(i)
        return part.frames(row)
