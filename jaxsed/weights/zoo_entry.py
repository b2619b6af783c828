"""What jaxsed knows of a released checkpoint."""

import dataclasses

PAPER = "arXiv:2409.09546"  # Effective Pre-Training of Audio Transformers for SED
STAGES = ("ssl", "weak", "strong")


@dataclasses.dataclass(frozen=True)
class Licence:
    """What its authors allow to be done with a checkpoint.

    Attributes:
      name: Of the licence.
      source: Where they say so.
    """

    name: str
    source: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """A released checkpoint.

    Attributes:
      name: What it is asked for by, e.g. "BEATs_strong_1".
      file: Its name in the cache.
      encoder: Of `models.sed.ENCODERS`.
      stage: What it was trained for last: one of `STAGES`.
      licence: Under which it was released.
      paper: That describes it.
      urls: Addresses of the file, tried in order.
      pages: Web pages to get it from with a browser.
      size_bytes: Its size, if known.
      sha256: Its checksum, or the beginning of it, if known.
      psds1: On AudioSet Strong in the paper, in percent.
      aliases: Other names for it.
      member: Ending of the one file that is wanted of the zip archive at `urls`.
      note: What else one should know.
    """

    name: str
    file: str
    encoder: str
    stage: str
    licence: Licence
    paper: str = PAPER
    urls: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    size_bytes: int | None = None
    sha256: str | None = None
    psds1: float | None = None
    aliases: tuple[str, ...] = ()
    member: str | None = None
    note: str = ""
