"""One HTTP request for a file, or for the part of it that is missing."""

import dataclasses
import http.client
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxsed import locks
from jaxsed.errors import InputError

TIMEOUT_SECONDS = 30.0  # without a byte
BLOCK_BYTES = 2**18
MAX_BYTES = 16 * 2**30  # of a file whose size nobody knows
# No file:, ftp: or data: addresses, also not by redirection.
_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
)


class RefusedError(Exception):
    """This address will not give the file, however often it is asked."""


class BrokenOffError(Exception):
    """Bytes are missing; another attempt may bring them."""


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
        suffix = ".part" if locks.AVAILABLE else f".{os.getpid()}.part"
        return self.target.with_name(self.target.name + suffix)

    @property
    def source(self) -> Path:
        """Remembers where the part came from."""
        return self.part.with_name(self.part.name + ".json")


def request_rest(url: str, wanted: Wanted, bar) -> None:
    """Asks an address once and adds what it sends to the part that is here.

    Args:
      url: One of `wanted.urls`.
      wanted: The file; complete after this, as far as the server says.
      bar: A tqdm bar of bytes.

    Raises:
      BrokenOffError: Bytes are missing still.
      RefusedError: The server sends something else.
      urllib.error.HTTPError: It answers with an error.
      InputError: There is no room for the file.
      OSError: The disk does not take it.
    """
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
        if not start:
            forget(wanted)
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
            forget(wanted)
            error.close()
            raise BrokenOffError("answers 416 (range not satisfiable)") from None
        raise
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        raise BrokenOffError(f"cannot be reached ({one_line(cause)})") from None
    except ValueError as error:
        raise RefusedError(f"is no address ({one_line(error)})") from None
    if response is None:
        raise RefusedError("is no address of the web (http or https)")
    return response


def _resumable(url: str, wanted: Wanted) -> tuple[int, dict[str, str]]:
    """How many bytes of the part may stay, and the header that asks for the others."""
    have = part_bytes(wanted)
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
            raise RefusedError(f"gives another part than asked for ({content_range})")
        return int(total) if total.isdigit() else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _check_offer(response, total: int | None, start: int, wanted: Wanted) -> None:
    if response.headers.get_content_type() == "text/html":
        raise RefusedError("answers with a web page instead of the file")
    if None not in (total, wanted.size_bytes) and total != wanted.size_bytes:
        raise RefusedError(
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
                raise RefusedError(f"sends more than {limit:,} bytes")
            file.write(block)
            bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())
    if have < (total or 0):
        raise BrokenOffError(f"breaks off after {have:,} of {total:,} bytes")


def _read(response) -> bytes:
    try:
        return response.read(BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise BrokenOffError(f"breaks off ({one_line(error)})") from None


def _remember(wanted: Wanted, url: str, response) -> None:
    """Keeps what tells whether the same file is offered when it is asked for again."""
    tag = response.headers.get("ETag")
    # A weak tag promises the same meaning, not the same bytes.
    is_strong = tag and not tag.startswith("W/")
    validator = tag if is_strong else response.headers.get("Last-Modified")
    content = json.dumps({"url": url, "validator": validator})
    wanted.source.write_text(content, encoding="utf-8")


def forget(wanted: Wanted) -> None:
    """Throws away the part that is here."""
    wanted.part.unlink(missing_ok=True)
    wanted.source.unlink(missing_ok=True)


def part_bytes(wanted: Wanted) -> int:
    """How much of a file is here."""
    try:
        return wanted.part.stat().st_size
    except FileNotFoundError:
        return 0


def one_line(value: object) -> str:
    """What somebody else's message says, on one line."""
    return " ".join(str(value).split())[:200]
