"""The table of the recordings: what each is, whose it is, which split it belongs to."""

import csv
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

FOLDER = Path(__file__).parent
TABLE = FOLDER / "recordings.csv"
SAMPLE_RATE = 16_000
SPLITS = ("train", "eval")


@dataclass(frozen=True)
class Recording:
    """One row of `recordings.csv`.

    Attributes:
        file: name in this folder, 16 kHz mono FLAC.
        display_name: AudioSet class name; empty for backgrounds.
        mid: AudioSet class id; empty for backgrounds.
        role: `event` or `background`.
        split: `train` or `eval`; a recording is never in both.
        play: how an event is made of it: `strokes` (a run of one to several),
            `whole` (once, from start to end) or `excerpt` (a part, looped if short).
        author: who recorded it.
        source: where the author published it.
        licence: SPDX identifier.
        original: file name in the Debian package sonic-pi-samples.
    """

    file: str
    display_name: str
    mid: str
    role: str
    split: str
    play: str
    author: str
    source: str
    licence: str
    original: str


def read_rows() -> list[dict[str, str]]:
    """Rows of the table as text, in file order, cutting instructions included."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@functools.cache
def load_table() -> tuple[Recording, ...]:
    """All recordings, in the order of the table."""
    fields = Recording.__dataclass_fields__
    return tuple(
        Recording(**{name: row[name] for name in fields}) for row in read_rows()
    )


def backgrounds(split: str) -> tuple[Recording, ...]:
    """The ambiences of `train` or `eval`."""
    return tuple(r for r in load_table() if r.role == "background" and r.split == split)


def events_by_class(split: str) -> dict[str, tuple[Recording, ...]]:
    """MID to its recordings in `train` or `eval`, in the order of the table.

    The table lists classes from the most to the least frequent in the soundscapes.
    A class whose only recording is in `train` is absent from `eval`, as are 40 of
    AudioSet Strong's 447 training classes.
    """
    found: dict[str, list[Recording]] = {}
    for recording in load_table():
        if recording.role == "event" and recording.split == split:
            found.setdefault(recording.mid, []).append(recording)
    return {mid: tuple(recordings) for mid, recordings in found.items()}


def display_names() -> dict[str, str]:
    """MID to AudioSet class name, most frequent class first."""
    return {r.mid: r.display_name for r in load_table() if r.role == "event"}


@functools.cache
def read_audio(file: str) -> np.ndarray:
    """Audio of one recording: float32 [n] at 16 kHz, read-only, kept in memory."""
    wave, _ = soundfile.read(FOLDER / file, dtype="float32")
    wave.flags.writeable = False
    return wave


@functools.cache
def content_hash() -> str:
    """SHA-256 of the table and all audio files: changes when a scene could."""
    digest = hashlib.sha256(TABLE.read_bytes())
    for recording in load_table():
        digest.update((FOLDER / recording.file).read_bytes())
    return digest.hexdigest()
