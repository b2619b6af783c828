"""Released checkpoints by name: known, found on this machine, or fetched.

A file is looked for in the offline directory, then in the cache, and downloaded into the
cache if it is in neither. Beside each file in the cache, `FILE.sha256` holds its checksum
(as `sha256sum -c` reads it), which every later use of the file is checked against.
"""

import contextlib
import difflib
import os
import shutil
import sys
import zipfile
import zlib
from pathlib import Path

from jaxsed import locks
from jaxsed.atomic import replacing, write_atomically
from jaxsed.errors import InputError
from jaxsed.weights import download
from jaxsed.weights.download_request import Wanted
from jaxsed.weights.zoo_entries import ENTRIES
from jaxsed.weights.zoo_entry import Entry

# `os.pathsep` between several folders.
OFFLINE_VARIABLE = "JAXSED_WEIGHTS_DIR"
CACHE_VARIABLE = "JAXSED_CACHE"
# What `zipfile` raises of archives; the last two are of encrypted and unusual ones.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
)


def find(name: str) -> Entry:
    """Returns the entry of a name, whatever its case, with or without `.pt`.

    Raises:
      InputError: No checkpoint has that name; the nearest ones are suggested.
    """
    known = {}
    for entry in ENTRIES:
        names = (entry.name, entry.file, Path(entry.file).stem, *entry.aliases)
        known |= dict.fromkeys((one.lower() for one in names), entry)
    wanted = name.strip().lower()
    if wanted in known:
        return known[wanted]
    near = [one for one in known if one.startswith(wanted or "?")][:3]
    near = near or difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    suggested = " or ".join(dict.fromkeys(repr(known[one].name) for one in near))
    hint = f"did you mean {suggested}? " if near else ""
    raise InputError(
        f"no released checkpoint is called {name!r}: {hint}"
        "'jaxsed weights list' shows them all"
    )


def cache_folder() -> Path:
    """Where fetched checkpoints go: `$JAXSED_CACHE/weights`, or the system's place."""
    if root := os.environ.get(CACHE_VARIABLE):
        return Path(root).expanduser() / "weights"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "jaxsed" / "weights"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "jaxsed" / "weights"
    system = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(system) / "jaxsed" / "weights"


def local_path(entry: Entry, offline_dir: Path | str | None = None) -> Path | None:
    """Returns where a checkpoint is on this machine, None if it has to be fetched.

    Args:
      entry: Of `find`.
      offline_dir: Folder to look in first; None for those of `$JAXSED_WEIGHTS_DIR`.

    Raises:
      InputError: `offline_dir` is not a folder.
    """
    folders = [*_offline_folders(offline_dir), cache_folder()]
    paths = (folder / entry.file for folder in folders)
    return next((path for path in paths if os.path.isfile(path)), None)


def fetch(
    entry: Entry, offline_dir: Path | str | None = None, progress: bool = True
) -> Path:
    """Returns a checkpoint's path, downloading it if it is not here, checked either way.

    Args:
      entry: Of `find`.
      offline_dir: See `local_path`.
      progress: Whether to draw a bar, if the terminal can show one.

    Raises:
      InputError: The file that is here is not the one that it should be, or none could
        be downloaded; then the message says what to download by hand and where to put it.
    """
    path = local_path(entry, offline_dir)
    if path is None:
        target = cache_folder() / entry.file
        _make_folder(target.parent)
        try:
            path = _download(entry, target, progress)
        except InputError as error:
            raise InputError(
                f"{entry.name}: {error}. {_by_hand(entry, target)}"
            ) from error
    try:
        _check(entry, path)
    except OSError as error:
        raise InputError(
            f"{entry.name}: {path} cannot be read: {error.strerror or error}"
        ) from error
    return path


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made: {error.strerror or error}; "
            f"${CACHE_VARIABLE} names another place for the cache"
        ) from error


def _download(entry: Entry, target: Path, progress: bool) -> Path:
    if not entry.urls:
        raise InputError("it cannot be downloaded automatically")
    if entry.member is None:
        # One that was fetched before and deleted must be the same again.
        sha256 = entry.sha256 or _recorded(_record(entry))
        wanted = Wanted(entry.urls, target, entry.size_bytes, sha256, _check_readable)
        return download.download(wanted, progress)
    archive = target.with_name(target.name + ".zip")

    def unpack(path: Path) -> None:
        _unpack(path, entry.member, target)

    # Unpacking is the check, so that an archive that it fails on is not kept.
    wanted = Wanted(entry.urls, archive, check=unpack)
    try:
        with locks.in_turn(target):
            if not target.is_file():  # else another process has done all of this
                archive.unlink(missing_ok=True)
                download.download(wanted, progress)
            archive.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{target} cannot be written: {reason}") from error
    return target


def _unpack(archive: Path, ending: str, target: Path) -> None:
    name = _member(archive, ending)
    with replacing(target) as beside:
        try:
            with (
                zipfile.ZipFile(archive) as opened,
                opened.open(name) as source,
                open(beside, "wb") as copy,
            ):
                shutil.copyfileobj(source, copy)
        except _DAMAGED as error:
            raise InputError(f"{archive}: cannot be unpacked ({error})") from error
        try:
            _check_readable(beside)
        except InputError as error:
            reason = str(error).removeprefix(f"{beside}: ")
            raise InputError(f"{archive}: {name} in it: {reason}") from error


def _member(archive: Path, ending: str) -> str:
    """Name of the one entry of a zip archive that ends in `ending`."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if name.endswith(ending)]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"{archive}: not a zip archive ({error})") from None
    if len(names) != 1:
        raise InputError(
            f"{archive}: {len(names)} of its files end in {ending}, not one"
        )
    return names[0]


def _check_readable(path: Path) -> None:
    from jaxsed.weights import torch_file

    torch_file.read(path, verify=True)


def _check(entry: Entry, path: Path) -> None:
    """Compares a file with what is known of it, or records its checksum."""
    size_bytes = path.stat().st_size
    is_ours = path.parent == cache_folder()
    remedy = f"delete {path} and fetch it again" if is_ours else f"replace {path}"
    if entry.size_bytes is not None and size_bytes != entry.size_bytes:
        raise InputError(
            f"{entry.name}: {path} has {size_bytes:,} bytes where the released file has "
            f"{entry.size_bytes:,}; {remedy}"
        )
    sha256 = download.file_sha256(path)
    if entry.sha256 and not sha256.startswith(entry.sha256):
        raise InputError(
            f"{entry.name}: {path} has the sha256 {sha256[:16]}... where the released "
            f"file has {entry.sha256[:16]}...; {remedy}"
        )
    record = _record(entry)
    recorded = _recorded(record)
    if recorded is None:
        _check_readable(path)
        if is_ours:
            _write_record(record, sha256, entry.file)
    elif recorded != sha256:
        raise InputError(
            f"{entry.name}: {path} is not the file that was fetched first (sha256 in "
            f"{record}); {remedy}, or delete the record if you trust this one"
        )


def _record(entry: Entry) -> Path:
    return cache_folder() / f"{entry.file}.sha256"


def _recorded(record: Path) -> str | None:
    try:
        return record.read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return None


def _write_record(record: Path, sha256: str, file: str) -> None:
    with contextlib.suppress(InputError):  # a cache that others fill and we only read
        write_atomically(record, f"{sha256}  {file}\n")


def _offline_folders(offline_dir: Path | str | None) -> list[Path]:
    if offline_dir is not None:
        if not Path(offline_dir).is_dir():
            raise InputError(f"--offline-dir={offline_dir} is not a folder")
        return [Path(offline_dir)]
    listed = os.environ.get(OFFLINE_VARIABLE, "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in listed if folder]


def _by_hand(entry: Entry, target: Path) -> str:
    """Says what to download with a browser and where to put it."""
    sources = " or ".join((*entry.urls[:1], *entry.pages))
    inside = f", unpack the {entry.member} file in it" if entry.member else ""
    return (
        f"By hand: download {sources}{inside} and save it as {target} "
        f"(or as {entry.file} in a folder that ${OFFLINE_VARIABLE} names)"
    )
