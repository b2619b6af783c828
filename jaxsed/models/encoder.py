"""What every encoder says of itself because its frames lie on a grid."""

import dataclasses

from jaxsed.errors import InputError
from jaxsed.models.tokens import Grid


class OnGrid:
    """Properties that follow from an encoder's `grid`; mixed into Linen modules.

    Attributes:
        grid: How tokens and frames lie in time and frequency.
    """

    grid: Grid

    @property
    def clip_seconds(self) -> float:
        """Longest clip that the encoder was made for."""
        return self.grid.clip_seconds

    @property
    def frame_rate_hz(self) -> float:
        """Output frames per second."""
        return self.grid.frame_rate_hz

    @property
    def gives(self) -> tuple[str, ...]:
        """Names in `out` that only some encoders have and that a head may need."""
        return ()

    def without_top(self, n_blocks: int) -> "OnGrid":
        """Returns the encoder without so many blocks at its top.

        What follows the blocks (a final norm) stays, and so do the blocks that are left:
        each does what it does in the whole encoder.

        Raises:
            InputError: It is no stack of equal blocks, or has not more than so many.
        """
        config = getattr(self, "config", None)
        if not hasattr(config, "dropped"):
            raise InputError("its layers are no stack of equal blocks")
        if not 0 <= n_blocks < config.depth:
            raise InputError(f"it has {config.depth} blocks, of which one has to stay")
        return self.clone(config=dataclasses.replace(config, dropped=n_blocks))
