"""Two data sets of scenes from the recordings in the package, for downstream trainings.

One is laid out as DESED (strong, weak and synthetic clips of 10 s), one as a task of HEAR
(recordings of two minutes, times in milliseconds). Of the sounds in them some classes are
annotated; the others are there and nobody says so, as in the originals.

Training scenes are made of the training recordings, validation and test scenes of others.
Scenes of one seed are not those of another: those of `make demo` have seed 0.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from jaxsed.data.layouts import desed, hear
from jaxsed.data.prepare import prepare
from jaxsed.data.recordings import table
from jaxsed.data.recordings.scenes import CLIP_SECONDS, SAMPLE_RATE, Scene, render_scene
from jaxsed.labels.vocab import Vocabulary

DESED_CLASSES, HEAR_CLASSES = 10, 11  # as many as DESED and DCASE 2016 task 2 have
# split -> (table, folder of its sounds, recordings, seed of the scenes, how many)
DESED = {
    "train_strong": (
        "train/audioset_strong.tsv",
        "train/strong_label_real",
        "train",
        11,
        48,
    ),
    "train_weak": ("train/weak.tsv", "train/weak", "train", 12, 96),
    "train_synthetic": (
        "train/synthetic21_train/soundscapes.tsv",
        "train/synthetic21_train/soundscapes",
        "train",
        13,
        48,
    ),
    "validation": (
        "validation/validation.tsv",
        "validation/validation",
        "eval",
        14,
        120,
    ),
    "eval": ("eval/public.tsv", "eval/public", "eval", 15, 240),
}
# split of HEAR -> recordings of the package, seed of the scenes, recordings of two minutes
HEAR = {
    "train": ("train", 21, 3),
    "valid": ("eval", 22, 8),
    "test": ("eval", 23, 16),
}
SCENES_A_RECORDING = 12  # two minutes


def classes(count: int) -> dict[str, str]:
    """Returns MID -> name of the most frequent classes that both splits have sounds of."""
    held_out = table.events_by_class("eval")
    mids = [mid for mid in table.events_by_class("train") if mid in held_out][:count]
    names = table.display_names()
    # Commas part the labels of weak clips.
    return {mid: names[mid].partition(",")[0].replace(" ", "_") for mid in mids}


def make(folder: Path) -> None:
    """Writes both data sets and prepares them; what is there already is kept.

    Args:
        folder: gets `desed` and `hear`, the sources, and `prepared/desed` and
            `prepared/hear`, with a folder for each split.
    """
    known = classes(DESED_CLASSES)
    vocabulary = Vocabulary("scenes_desed", tuple(sorted(known.values())))
    for name, write in (("desed", _write_desed), ("hear", _write_hear)):
        done = folder / name / "done"
        if not done.exists():
            write(folder / name)
            done.touch()
    for split in DESED:
        source = desed.read(folder / "desed", split, vocabulary)
        prepare(source, folder / "prepared" / "desed" / split)
    for split in hear.SPLITS[:3]:
        source = hear.read(folder / "hear", split)
        prepare(source, folder / "prepared" / "hear" / split)


def _write_desed(root: Path) -> None:
    known = classes(DESED_CLASSES)
    for split, (name, sounds, recordings, seed, count) in DESED.items():
        lines = ["filename\tonset\toffset\tevent_label"]
        if split == "train_weak":
            lines = ["filename\tevent_labels"]
        folder = root / "audio" / sounds
        folder.mkdir(parents=True, exist_ok=True)
        for scene in _scenes(recordings, seed, count):
            file = f"{scene.segment_id}.wav"
            soundfile.write(folder / file, scene.wave, SAMPLE_RATE)
            events = [
                (e.onset, e.offset, known[e.mid])
                for e in scene.events
                if e.mid in known
            ]
            if split != "train_weak":
                lines += [f"{file}\t{on}\t{off}\t{label}" for on, off, label in events]
                lines += [] if events else [f"{file}\t\t\t"]
            elif events:
                labels = ",".join(sorted({label for *_, label in events}))
                lines.append(f"{file}\t{labels}")
        path = root / "metadata" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_hear(root: Path) -> None:
    known = classes(HEAR_CLASSES)
    rate = str(SAMPLE_RATE)
    for split, (recordings, seed, count) in HEAR.items():
        folder, labels = root / rate / split, {}
        folder.mkdir(parents=True, exist_ok=True)
        scenes = list(_scenes(recordings, seed, count * SCENES_A_RECORDING))
        for index in range(count):
            parts = scenes[index * SCENES_A_RECORDING :][:SCENES_A_RECORDING]
            file = f"{split}_{index:02d}.wav"
            wave = np.concatenate([scene.wave for scene in parts])
            soundfile.write(folder / file, wave, SAMPLE_RATE)
            labels[file] = list(_milliseconds(parts, known))
        text = json.dumps(labels, indent=1)
        (root / f"{split}.json").write_text(text, encoding="utf-8")
    rows = ["idx,label", *(f"{i},{name}" for i, name in enumerate(known.values()))]
    (root / "labelvocabulary.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    metadata = {
        "task_name": "scenes",
        "embedding_type": "event",
        "sample_duration": SCENES_A_RECORDING * CLIP_SECONDS,
    }
    (root / "task_metadata.json").write_text(json.dumps(metadata), encoding="utf-8")


def _milliseconds(parts: Sequence[Scene], known: dict[str, str]) -> Iterator[dict]:
    for index, scene in enumerate(parts):
        start = index * CLIP_SECONDS
        for event in scene.events:
            if event.mid in known:
                yield {
                    "label": known[event.mid],
                    "start": round(1000 * (start + event.onset), 1),
                    "end": round(1000 * (start + event.offset), 1),
                }


def _scenes(recordings: str, seed: int, count: int) -> Iterator[Scene]:
    return (render_scene(seed, recordings, index) for index in range(count))
