"""Fetches one file over HTTP: resumed where it broke off, whole and checked, or not at all."""

import contextlib
import hashlib
import os
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

from jaxsed import locks
from jaxsed.errors import InputError
from jaxsed.weights.download_request import (
    BrokenOffError,
    RefusedError,
    Wanted,
    forget,
    one_line,
    part_bytes,
    request_rest,
)

ATTEMPTS = 5  # in a row without a single new byte, for each address
BACKOFF_SECONDS = 1.0  # doubled at every attempt
# Worth another attempt: time-outs, "too many requests", and the server's own troubles.
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


class _WrongError(RefusedError):
    """What has arrived is not the file."""


def download(wanted: Wanted, progress: bool = True) -> Path:
    """Fetches a file unless it is there.

    Interrupted at any moment, it goes on from there when called again. Several processes
    may fetch the same file; one does and the others wait for it.

    Args:
      wanted: What to fetch, and where to.
      progress: Whether to draw a bar, if the terminal can show one.

    Returns:
      `wanted.target`.

    Raises:
      InputError: No address gave the file, with what each answered, or there is no room
        for it. What has arrived is kept for the next attempt, unless it proved wrong.
    """
    try:
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
        with locks.in_turn(wanted.target):
            if not wanted.target.exists():
                _download(wanted, progress)
    except OSError as error:  # of the disk: those of the network are dealt with
        reason = error.strerror or error
        raise InputError(f"{wanted.target} cannot be written: {reason}") from error
    return wanted.target


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file's content in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(wanted: Wanted, progress: bool) -> None:
    failures = []
    for url in wanted.urls:
        is_resumed = part_bytes(wanted) > 0
        try:
            try:
                _fetch_and_verify(url, wanted, progress)
            except _WrongError:
                if not is_resumed:
                    raise
                # The part may be what was wrong; it is gone now.
                _fetch_and_verify(url, wanted, progress)
        except RefusedError as error:
            failures.append(f"{url} {error}")
            continue
        os.replace(wanted.part, wanted.target)
        wanted.source.unlink(missing_ok=True)
        return
    raise InputError("; ".join(failures) or "there is no address to download it from")


def _fetch_and_verify(url: str, wanted: Wanted, progress: bool) -> None:
    with _bar(wanted, progress) as bar:
        _fetch_from(url, wanted, bar)
    _verify(wanted)


def _fetch_from(url: str, wanted: Wanted, bar) -> None:
    """Asks one address until everything is here."""
    failed = 0
    best_bytes = part_bytes(wanted)
    while True:
        try:
            request_rest(url, wanted, bar)
            return
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"answers {error.code} ({one_line(error.reason)})"
            if error.code not in _TRANSIENT:
                raise RefusedError(reason) from None
        except BrokenOffError as error:
            reason = str(error)
        failed = 0 if part_bytes(wanted) > best_bytes else failed + 1
        best_bytes = max(best_bytes, part_bytes(wanted))
        if failed >= ATTEMPTS:
            raise RefusedError(reason)
        if failed == 1 and not bar.disable:  # it may take a while
            bar.write(f"{url} {reason}; trying again", file=sys.stderr)
        time.sleep(BACKOFF_SECONDS * 2 ** max(failed - 1, 0))


def _verify(wanted: Wanted) -> None:
    """Checks the part, and throws it away if it is wrong."""
    size_bytes = part_bytes(wanted)
    fault = None
    if wanted.size_bytes is not None and size_bytes != wanted.size_bytes:
        fault = f"gave {size_bytes:,} bytes where the file has {wanted.size_bytes:,}"
    elif wanted.sha256 and not file_sha256(wanted.part).startswith(wanted.sha256):
        fault = f"gave a file whose sha256 does not begin with {wanted.sha256[:16]}"
    else:
        try:
            wanted.check(wanted.part)
        except InputError as error:
            reason = str(error).removeprefix(str(wanted.part)).lstrip(": ")
            fault = f"gave something else ({reason})"
    if fault:
        forget(wanted)
        raise _WrongError(fault)


@contextlib.contextmanager
def _bar(wanted: Wanted, progress: bool) -> Iterator:
    from tqdm import tqdm

    options = {"unit": "B", "unit_scale": True, "unit_divisor": 1000}
    disable = None if progress else True  # None: unless this is no terminal
    with tqdm(desc=wanted.target.name, disable=disable, **options) as bar:
        yield bar
