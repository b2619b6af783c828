"""Where the sound of a clip lies: a file of its own, or a row of a pack of many.

A layout says for every clip `AudioSource(container, place)`. A container is a folder of
sound files, or one file that holds many (`Hdf5Pack`, `ParquetAudio`). Sources are small,
can be pickled and open nothing; `AudioReader` opens containers, in the process that reads.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from jaxsed.audio.decode import AudioError
from jaxsed.labels.clip_names import legible

Place = str | int
ReadPlace = Callable[[Place], bytes]


class Container(Protocol):
    """What holds the sound of clips; frozen, hashable, small when pickled.

    Attributes:
      in_order: Reading it in any other order than that of its places is slow.
    """

    in_order: bool

    def file(self, place: Place) -> str:
        """Returns the file that changes when the sound at `place` does."""

    def name(self, place: Place) -> str:
        """Returns what to call the sound: relative to the data set, `/` between."""

    def open(self) -> AbstractContextManager[ReadPlace]:
        """Opens it for reading; the function raises OSError where it cannot read.

        Raises:
          InputError: The container as a whole cannot be read.
        """


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of sound files; a place is a name relative to it, `/` between.

    Attributes:
      root: The folder.
    """

    root: Path
    in_order = False

    def file(self, place: str) -> str:
        """Returns the sound file itself."""
        return os.path.join(self.root, place)

    def name(self, place: str) -> str:
        """Returns the relative name."""
        return legible(place)

    @contextlib.contextmanager
    def open(self) -> Iterator[ReadPlace]:
        """Needs nothing to be opened."""
        yield lambda place: Path(self.file(place)).read_bytes()


@dataclasses.dataclass(frozen=True)
class PackFile:
    """A file that holds many sounds, in rows: what kinds of packs have in common.

    Attributes:
      root: The data set's folder.
      file_name: Relative to it, `/` between.
    """

    root: Path
    file_name: str
    in_order = True

    @property
    def path(self) -> Path:
        """The file."""
        return self.root / self.file_name

    def file(self, place: int) -> str:
        """Returns the file, whatever the row."""
        return str(self.path)

    def name(self, place: int) -> str:
        """Returns file name and row."""
        return f"{self.file_name}[{place}]"


class AudioSource(NamedTuple):
    """Where the sound of one clip lies.

    Attributes:
      container: Folder or pack.
      place: Name in the folder, or row (int) of the pack.
    """

    container: Container
    place: Place

    @property
    def name(self) -> str:
        """What errors and records call it: relative to the data set."""
        return self.container.name(self.place)

    @property
    def path(self) -> Path:
        """The file it is in: the sound file, or the pack."""
        return Path(self.container.file(self.place))

    def fingerprint(self, stat=os.stat) -> tuple[str, int, int] | None:
        """Identifies the sound without reading it.

        Args:
          stat: `os.stat`, or one that remembers what it was asked.

        Returns:
          Name, size of the file and when it was changed (ns); None if there is none.
        """
        try:
            found = stat(self.container.file(self.place))
        except OSError:
            return None
        return self.name, found.st_size, found.st_mtime_ns

    def read(self) -> bytes:
        """Returns the bytes of the sound file; for many, `AudioReader` is faster.

        Raises:
          AudioError: `missing`: not there, or not readable.
          InputError: The container cannot be read at all.
        """
        with AudioReader() as reader:
            return reader.read(self)


class AudioReader:
    """Reads the sound of clips, and keeps open what they lie in.

    A context manager, for one thread.
    """

    def __init__(self):
        """Opens nothing yet."""
        self._readers: dict[Container, ReadPlace] = {}
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> "AudioReader":
        return self

    def __exit__(self, *exception) -> None:
        self._readers.clear()
        self._cleanup.close()

    def read(self, source: AudioSource) -> bytes:
        """Returns the bytes of a clip's sound file, as they are.

        Raises:
          AudioError: `missing`: not there, or not readable.
          InputError: The container cannot be read at all.
        """
        container, place = source
        if container not in self._readers:
            opened = self._cleanup.enter_context(container.open())
            self._readers[container] = opened
        try:
            return self._readers[container](place)
        except OSError as error:
            reason = error.strerror or str(error)
            raise AudioError("missing", f"{source.name}: {reason}") from error
