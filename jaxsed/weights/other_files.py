"""What a file seems to be that is not a checkpoint, in words for the person who gave it."""

from collections.abc import Sequence

_BEGINNINGS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or TensorFlow weights?)"),
    (b"\x93NUMPY", "a numpy .npy array"),
    (b"\x1f\x8b", "gzip-compressed; unpack it first"),
    (b"BZh", "bzip2-compressed; unpack it first"),
    (b"\xfd7zXZ", "xz-compressed; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"Rar!", "a rar archive; unpack it first"),
    (b"RIFF", "a sound or video file"),
    (b"fLaC", "a sound file"),
    (b"ID3", "a sound file"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (
        b"version https://git-lfs",
        "a git-lfs pointer; fetch the file with 'git lfs pull'",
    ),
)


def seems_to_be(head: bytes) -> str:
    """Says what a file seems to be.

    Args:
      head: Its first 1024 bytes or more.
    """
    for beginning, description in _BEGINNINGS:
        if head.startswith(beginning):
            return description
    if head[257:262] == b"ustar":
        return (
            "a tar archive; unpack it (PyTorch below 0.1.10 wrote tar: save it again)"
        )
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if not head.strip(b"\0"):
        return "nothing but zeros, as left by a download that did not finish"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")) or b"<html" in start:
        return "a web page, as saved instead of the file it links to; download again"
    if _is_text(head):
        return f"a text file that begins {_first_line(head)!r}"
    if head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5":
        return "a Python pickle that torch.save did not write"
    return f"an unknown binary file that begins {head[:8].hex(' ')}"


def archive_seems_to_be(names: Sequence[str]) -> str:
    """Says what a zip archive seems to be that torch.save did not write.

    Args:
      names: Of its entries.
    """
    if any(name.endswith(".npy") for name in names):
        return "a numpy .npz archive"
    if any(name.endswith("model.weights.h5") for name in names):
        return "a Keras model"
    for name in names:
        if name.lower().endswith((".pt", ".pth", ".ckpt", ".bin")):
            return f"a zip archive around {name[:100]!r}; unpack it and give that file"
    listed = ", ".join(repr(name[:40]) for name in names[:3]) or "nothing"
    return f"a zip archive of something else ({listed}{', ...' * (len(names) > 3)})"


def _is_text(head: bytes) -> bool:
    try:
        text = head[:1024].decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(head[:1024]) - 3:  # else a character cut in two
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\r\n\t\f" for char in text)


def _first_line(head: bytes) -> str:
    lines = head.decode("utf-8", errors="replace").strip().splitlines()
    return lines[0][:60] if lines else ""
