"""What all pictures share: matplotlib, which may be missing, and how text is written."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from jaxsed.errors import InputError
from jaxsed.inference.outputs import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 110


def require_matplotlib() -> None:
    """Raises InputError if there is no matplotlib, an optional dependency."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(
            "pictures need matplotlib: pip install 'jaxsed[report]'"
        ) from error


def new_figure(width_inches: float, height_inches: float) -> "Figure":
    """Returns an empty figure, of which no window and no notebook knows."""
    from matplotlib.figure import Figure

    size = width_inches, height_inches
    return Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")


def write(figure: "Figure", path: Path) -> None:
    """Writes a figure as PNG, in one step. Folders above it are made."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with replacing(path) as partial, warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; that is all.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        FigureCanvasAgg(figure).print_png(partial)


def clock(seconds: float, _position=None) -> str:
    """Returns seconds as m:ss or h:mm:ss. A tick formatter of matplotlib."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def printable(text: str, most: int = 90) -> str:
    """Returns text on one line of at most so many characters, whatever is in it."""
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return text if len(text) <= most else text[: most - 1] + "…"
