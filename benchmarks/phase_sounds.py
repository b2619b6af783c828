"""Scenes of one sound each, all classes equally often: what carried weights are asked.

Chance is one in twenty there, and accuracy says how far above it a model is. Two
splits: `train`, and `validation`, other scenes of the same recordings.
"""

import csv
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import soundfile

from jaxsed.data.layouts import clips
from jaxsed.data.prepare import prepare
from jaxsed.data.recordings import table
from jaxsed.data.recordings.scenes import SAMPLE_RATE, render_scene, scene_events

SCENES = {"train": 20, "validation": 8}  # of each class
RECORDINGS = "train"
SEED = 0


def chance() -> float:
    """Returns the accuracy of who knows nothing: all classes are equally frequent."""
    return 1 / len(table.events_by_class(RECORDINGS))


def make(folder: Path, scale: float = 1.0) -> Path:
    """Mixes and prepares the scenes; what is there is kept.

    Args:
        folder: gets `sounds/` and `prepared/`.
        scale: of the numbers of scenes.

    Returns:
        The prepared folder, with one folder a split in it.
    """
    prepared, sounds = folder / "prepared", folder / "sounds"
    if not (sounds / "sounds.csv").exists():
        write(sounds, {split: round(scale * n) for split, n in SCENES.items()})
    for split in SCENES:
        prepare(clips.read(sounds, split), prepared / split)
    return prepared


def write(folder: Path, scenes: Mapping[str, int]) -> None:
    """Writes sounds and, last, the table that says what they are and of which split."""
    rows, places = [], single()
    for split, per_class in scenes.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        missing = dict.fromkeys(table.events_by_class(RECORDINGS), per_class)
        while any(missing.values()):
            index, mid, name = next(places)
            if not missing[mid]:
                continue
            missing[mid] -= 1
            file = f"{split}/{index}.flac"
            wave = render_scene(SEED, RECORDINGS, index).wave
            soundfile.write(folder / file, wave, SAMPLE_RATE, subtype="PCM_16")
            rows.append((file, name, split))
    with (folder / "sounds.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("filename", "label", "split"), *rows])


def single() -> Iterator[tuple[int, str, str]]:
    """Yields (number, class id, class name) of the scenes in which one event sounds."""
    for index in itertools.count():
        events = scene_events(SEED, RECORDINGS, index)
        if len(events) == 1:
            yield index, events[0].mid, events[0].display_name
