"""What every encoder says of itself because its frames lie on a grid."""

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
