"""Model folders by name: `BEATs_strong_1` for wherever its conversion is on this machine.

A released checkpoint is converted once, into `models/NAME` in the cache, and again when
the checkpoint or the converter has changed since.
"""

import os
import shutil
import sys
from pathlib import Path

from jaxsed import locks
from jaxsed.errors import InputError
from jaxsed.weights import convert, download, files, zoo
from jaxsed.weights.swap import check_free, replace_folder
from jaxsed.weights.zoo_entry import Entry


def model_folder(
    name_or_path: str | Path,
    offline_dir: Path | str | None = None,
    progress: bool = True,
) -> Path:
    """Returns the folder of a model, converting or even fetching it first if need be.

    Several processes may ask for the same model: one makes it, the others wait. One that
    is killed on the way leaves no half of a model behind.

    Args:
      name_or_path: A path, which is returned as it is if anything is there; otherwise a
        name of `zoo.find`, e.g. "BEATs_strong_1", in any case.
      offline_dir: Folder to look for checkpoints in first; None for those of
        `$JAXSED_WEIGHTS_DIR`.
      progress: Whether a download draws a bar, if the terminal can show one.

    Raises:
      InputError: Neither a path nor a name; or the checkpoint could not be had or
        converted, or the cache not written.
    """
    path = Path(name_or_path)
    if os.path.lexists(path):
        return path
    if len(path.parts) > 1:
        raise InputError(f"{path}: no such model folder")
    try:
        entry = zoo.find(str(name_or_path))
    except InputError as error:
        raise InputError(f"{path}: no such model folder, and {error}") from None
    folder = zoo.cache_folder() / "models" / entry.name
    if _is_current(folder, entry, offline_dir):
        return folder
    source = zoo.fetch(entry, offline_dir, progress)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locks.in_turn(folder):
            if not _is_current(folder, entry, offline_dir):
                _make(folder, entry, source)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror or error}; "
            f"${zoo.CACHE_VARIABLE} names another place for it"
        ) from error
    return folder


def _is_current(folder: Path, entry: Entry, offline_dir: Path | str | None) -> bool:
    """Whether `folder` holds what would be made of the checkpoint now."""
    try:
        provenance = files.read_description(folder)["provenance"]
        if provenance["converter"] != convert.VERSION:
            return False
        source = zoo.local_path(entry, offline_dir)
        # A checkpoint that was deleted to make room is not fetched again.
        return source is None or (
            download.file_sha256(source) == provenance["source_sha256"]
        )
    except (InputError, LookupError, TypeError):  # no model there, or a damaged one
        return False


def _make(folder: Path, entry: Entry, source: Path) -> None:
    check_free(folder, files.DESCRIPTION_FILE)
    licence = f"{entry.licence.name} ({entry.licence.source})"
    own = "" if locks.AVAILABLE else f".{os.getpid()}"
    workshop = folder.with_name(f".{folder.name}{own}.partial")
    shutil.rmtree(workshop, ignore_errors=True)  # of a process that was killed
    try:
        report = convert.convert_file(
            source,
            workshop / folder.name,
            model=entry.encoder,
            stage=entry.stage,
            licence=licence,
        )
        replace_folder(workshop / folder.name, folder)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    facts = [f"converted to {folder}", f"licence {licence}", entry.note]
    if report.drawn_heads:
        facts.append(f"not trained: its {' and '.join(report.drawn_heads)}")
    print(f"jaxsed: {entry.name}: {'; '.join(filter(None, facts))}", file=sys.stderr)
