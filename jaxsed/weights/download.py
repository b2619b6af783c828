"""Fetches one file over HTTP: resumed where it broke off, whole and checked, or not at all."""

import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jaxsed.errors import InputError
from jaxsed.weights import file_lock

ATTEMPTS = 5  # in a row without a single new byte, for each address
BACKOFF_SECONDS = 1.0  # doubled at every attempt
TIMEOUT_SECONDS = 30.0  # without a byte
BLOCK_BYTES = 2**18
MAX_BYTES = 16 * 2**30  # of a file whose size nobody knows
# Worth another attempt: time-outs, "too many requests", and the server's own troubles.
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
# No file:, ftp: or data: addresses, also not by redirection.
_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
)


class _RefusedError(Exception):
    """This address will not give the file, however often it is asked."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The file that is wanted and how it is recognised.

    Attributes:
      urls: Addresses, tried in order.
      target: Where it goes; `target.name + ".part"` beside it is the part that is here.
      size_bytes: Its size, if known.
      sha256: Its checksum in hexadecimal or the beginning of it, if known.
      check: Raises InputError if the file at a path is not what it should be.
    """

    urls: Sequence[str]
    target: Path
    size_bytes: int | None = None
    sha256: str | None = None
    check: Callable[[Path], object] = lambda path: None

    @property
    def part(self) -> Path:
        """Where the bytes go until all are here."""
        # Without locks (Windows) every process has its own and none is resumed.
        suffix = ".part" if file_lock.AVAILABLE else f".{os.getpid()}.part"
        return self.target.with_name(self.target.name + suffix)

    @property
    def source(self) -> Path:
        """Remembers where the part came from."""
        return self.part.with_name(self.part.name + ".json")


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
        with file_lock.held(wanted.target):
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
        try:
            with _bar(wanted, progress) as bar:
                _fetch_from(url, wanted, bar)
            _verify(wanted)
        except _RefusedError as error:
            failures.append(f"{url} {error}")
            continue
        os.replace(wanted.part, wanted.target)
        wanted.source.unlink(missing_ok=True)
        return
    raise InputError("; ".join(failures) or "there is no address to download it from")


def _fetch_from(url: str, wanted: Wanted, bar) -> None:
    """Asks one address until everything is here."""
    failed = 0
    best_bytes = _size(wanted.part)
    while True:
        try:
            _request(url, wanted, bar)
            return
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"answers {error.code} ({_one_line(error.reason)})"
            if error.code not in _TRANSIENT:
                raise _RefusedError(reason) from None
        except _InterruptedError as error:
            reason = str(error)
        failed = 0 if _size(wanted.part) > best_bytes else failed + 1
        best_bytes = max(best_bytes, _size(wanted.part))
        if failed >= ATTEMPTS:
            raise _RefusedError(reason)
        time.sleep(BACKOFF_SECONDS * 2 ** max(failed - 1, 0))


class _InterruptedError(Exception):
    """Bytes are missing; another attempt may bring them."""


def _request(url: str, wanted: Wanted, bar) -> None:
    """Makes one request and appends what it gives to the part that is here."""
    start, headers = _resumable(url, wanted)
    if wanted.size_bytes is not None and start == wanted.size_bytes:
        return
    headers |= {"User-Agent": "jaxsed", "Accept-Encoding": "identity"}
    response = _open(url, headers, wanted)
    with response:
        total = _total_bytes(response, start)
        if response.status != 206:
            start = 0
        _check_offer(response, total, start, wanted)
        _remember(wanted, url, response)
        _receive(response, start, total, wanted, bar)


def _open(url: str, headers: dict[str, str], wanted: Wanted):
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    try:
        request = urllib.request.Request(url, headers=headers)
        response = opener.open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing behind what we have, or another file
            _forget(wanted)
            error.close()
            raise _InterruptedError("answers 416 (range not satisfiable)") from None
        raise
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        raise _InterruptedError(f"cannot be reached ({_one_line(cause)})") from None
    except ValueError as error:
        raise _RefusedError(f"is no address ({_one_line(error)})") from None
    if response is None:
        raise _RefusedError("is no address of the web (http or https)")
    return response


def _resumable(url: str, wanted: Wanted) -> tuple[int, dict[str, str]]:
    """How many bytes of the part may stay, and the header that asks for the others."""
    have = _size(wanted.part)
    try:
        source = json.loads(wanted.source.read_text(encoding="utf-8"))
        validator = source["validator"] if source["url"] == url else None
    except (OSError, ValueError, TypeError, KeyError):
        validator = None
    if have and isinstance(validator, str):
        return have, {"Range": f"bytes={have}-", "If-Range": validator}
    if have and wanted.sha256:  # whatever is put together, the checksum judges it
        return have, {"Range": f"bytes={have}-"}
    return 0, {}


def _total_bytes(response, start: int) -> int | None:
    """The whole file's size as the answer tells it."""
    if response.status == 206:
        content_range = response.headers.get("Content-Range", "")
        offered, _, total = content_range.removeprefix("bytes ").partition("/")
        if offered.partition("-")[0] != str(start):
            raise _RefusedError(f"gives another part than asked for ({content_range})")
        return int(total) if total.isdigit() else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _check_offer(response, total: int | None, start: int, wanted: Wanted) -> None:
    if response.headers.get_content_type() == "text/html":
        raise _RefusedError("answers with a web page instead of the file")
    if None not in (total, wanted.size_bytes) and total != wanted.size_bytes:
        raise _RefusedError(
            f"offers {total:,} bytes where the file has {wanted.size_bytes:,}"
        )
    needed = (total or wanted.size_bytes or 0) - start
    free = shutil.disk_usage(wanted.target.parent).free
    if needed > free:
        raise InputError(
            f"{wanted.target.parent} has {free / 1e6:,.0f} MB free and "
            f"{needed / 1e6:,.0f} MB are needed; make room, or set JAXSED_CACHE"
        )


def _receive(response, start: int, total: int | None, wanted: Wanted, bar) -> None:
    limit = total or wanted.size_bytes or MAX_BYTES
    have = start
    with open(wanted.part, "r+b" if start else "wb") as file:
        file.truncate(start)
        file.seek(start)
        bar.reset(total or wanted.size_bytes)
        bar.update(start)
        while block := _read(response):
            have += len(block)
            if have > limit:
                raise _RefusedError(f"sends more than {limit:,} bytes")
            file.write(block)
            bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())
    if have < (total or 0):
        raise _InterruptedError(f"breaks off after {have:,} of {total:,} bytes")


def _read(response) -> bytes:
    try:
        return response.read(BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"breaks off ({_one_line(error)})") from None


def _verify(wanted: Wanted) -> None:
    """Checks the part, and throws it away if it is wrong."""
    size_bytes = _size(wanted.part)
    fault = None
    if wanted.size_bytes is not None and size_bytes != wanted.size_bytes:
        fault = f"gave {size_bytes:,} bytes where the file has {wanted.size_bytes:,}"
    elif wanted.sha256 and not file_sha256(wanted.part).startswith(wanted.sha256):
        fault = f"gave a file whose sha256 does not begin with {wanted.sha256[:16]}"
    else:
        try:
            wanted.check(wanted.part)
        except InputError as error:
            fault = f"gave something else ({str(error).removeprefix(str(wanted.part))})"
    if fault:
        _forget(wanted)
        raise _RefusedError(fault)


def _remember(wanted: Wanted, url: str, response) -> None:
    """Keeps what tells whether the same file is offered when it is asked for again."""
    tag = response.headers.get("ETag")
    # A weak tag promises the same meaning, not the same bytes.
    is_strong = tag and not tag.startswith("W/")
    validator = tag if is_strong else response.headers.get("Last-Modified")
    content = json.dumps({"url": url, "validator": validator})
    wanted.source.write_text(content, encoding="utf-8")


def _forget(wanted: Wanted) -> None:
    wanted.part.unlink(missing_ok=True)
    wanted.source.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _one_line(value: object) -> str:
    return " ".join(str(value).split())[:200]


@contextlib.contextmanager
def _bar(wanted: Wanted, progress: bool) -> Iterator:
    from tqdm import tqdm

    options = {"unit": "B", "unit_scale": True, "unit_divisor": 1000}
    disable = None if progress else True  # None: unless this is no terminal
    with tqdm(desc=wanted.target.name, disable=disable, **options) as bar:
        yield bar
