"""Rebuilds the recordings of this folder from the Debian package sonic-pi-samples.

    apt-get download sonic-pi-samples && dpkg -x sonic-pi-samples_*.deb UNPACKED
    python -m jaxsed.data.recordings.build UNPACKED

`recordings.csv` says what to take; nothing is converted unless the package's copyright
file has an entry for that very file with licence CC0 and the author named in the table.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from jaxsed.atomic import replacing
from jaxsed.data.recordings.table import FOLDER, SAMPLE_RATE, read_rows
from jaxsed.errors import InputError

COPYRIGHT = "usr/share/doc/sonic-pi-samples/copyright"
SAMPLES = "usr/share/sonic-pi/samples"

PEAK = 0.9  # just under full scale: room for the overshoot of later resampling
SILENCE_DB = -45.0  # below the loudest 5 ms block: inaudible next to the sound itself
FADE_SECONDS = 0.004  # removes the click of a cut end, shorter than any stroke


def cc0_authors(copyright_text: str) -> dict[str, str]:
    """File name (without folder) to author, from a Debian copyright file (DEP-5).

    Only files with a CC0 entry of their own: no wildcards, no lists of files.
    """
    authors = {}
    for paragraph in re.split(r"\n\s*\n", copyright_text):
        files = re.search(r"^Files:\s*(\S+)\s*$", paragraph, re.M)
        author = re.search(r"^Copyright:\s*(?:\d{4},?\s+)?(.+?)\s*$", paragraph, re.M)
        licence = re.search(r"^License:\s*CC0\s*$", paragraph, re.M)
        if files and author and licence and "*" not in files[1]:
            authors[files[1].rsplit("/", 1)[-1]] = author[1]
    return authors


def trim_silence(wave: np.ndarray) -> np.ndarray:
    """Cuts what lies more than 45 dB under the loudest block off both ends of [n]."""
    block = SAMPLE_RATE // 200
    n_blocks = -(-len(wave) // block)
    padded = np.pad(wave, (0, n_blocks * block - len(wave)))
    level = np.sqrt(np.mean(padded.reshape(n_blocks, block) ** 2, axis=1))
    loud = np.flatnonzero(level > level.max() * 10 ** (SILENCE_DB / 20))
    return wave[loud[0] * block : (loud[-1] + 1) * block]


def convert(source: Path, start_seconds: float, max_seconds: float) -> np.ndarray:
    """Reads any file as trimmed, peak-normalised 16 kHz mono, float32 [n]."""
    wave, rate = soundfile.read(source, dtype="float32", always_2d=True)
    wave = soxr.resample(wave.mean(axis=1), rate, SAMPLE_RATE)
    first = round(start_seconds * SAMPLE_RATE)
    wave = trim_silence(wave[first : first + round(max_seconds * SAMPLE_RATE)])
    fade = round(FADE_SECONDS * SAMPLE_RATE)
    wave[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return wave * (PEAK / np.abs(wave).max())


def build(unpacked: Path, out: Path = FOLDER) -> list[Path]:
    """Converts every row of the table; returns the files written to `out`.

    Raises:
        InputError: the package lacks a file, or its entry is not what the table says.
    """
    try:
        text = (unpacked / COPYRIGHT).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{unpacked / COPYRIGHT}: cannot be read ({error.strerror}); give the "
            "folder that the package sonic-pi-samples was unpacked into"
        ) from error
    authors = cc0_authors(text)
    written = []
    for row in read_rows():
        if authors.get(row["original"]) != row["author"]:
            raise InputError(
                f"{row['original']}: no CC0 entry by {row['author']!r} of its own in "
                f"{unpacked / COPYRIGHT}; remove the row or correct it"
            )
        source = unpacked / SAMPLES / row["original"]
        if not source.is_file():
            raise InputError(f"{source}: missing; unpack the whole package")
        wave = convert(source, float(row["start_seconds"]), float(row["max_seconds"]))
        target = out / row["file"]
        with replacing(target) as beside:
            soundfile.write(beside, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        written.append(target)
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """Command line entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("unpacked", type=Path, help="folder of the unpacked package")
    try:
        written = build(parser.parse_args(argv).unpacked)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(written)} files, {sum(p.stat().st_size for p in written)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
