"""AudioSet as the scripts of PaSST pack it: mp3 files in HDF5 (`hdf5_pack`).

    SRC/balanced_train_segments_mp3.hdf
    SRC/unbalanced_train_segments_mp3.hdf
    SRC/eval_segments_mp3.hdf

The packs may also lie in SRC/mp3. They serve two ends:

* `clips`: labels of whole clips, from the packs themselves. The split `train` is
  balanced and unbalanced together, as far as they are there; `balanced_train` and
  `unbalanced_train` can be asked for by name. A clip is called by its YouTube id, has its
  labels from its start to its end, and should last ten seconds. The classes are the 527
  of AudioSet; another vocabulary picks its own by MID.
* `frames`: events with times, from the tables of AudioSet Strong in SRC (see
  `audioset_strong`), with the sounds of the packs. This is done where the table of the
  split is there, unless `clips` are asked for.

A YouTube id names a sound once: should a name come twice, the first sound is used. Packs
made by others may call sounds by segment ids, and then hold several of a video.
"""

from collections.abc import Iterable
from pathlib import Path

from jaxsed.data.layouts import audioset_strong, audioset_weak
from jaxsed.data.layouts.hdf5_pack import Hdf5Pack
from jaxsed.data.layouts.source import (
    AUDIOSET_CLIP_SECONDS,
    CLIPS,
    FRAMES,
    ClipTableBuilder,
    SourceSplit,
)
from jaxsed.data.problems import WHOLE_CLIP, Problem, RawEvent
from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.vocab import Vocabulary

NAME = "audioset_hdf5"
SPLITS = ("train", "eval")
ANNOTATIONS = (FRAMES, CLIPS)
PARTS = audioset_weak.PARTS
_ENDING = "_mp3.hdf"


def packs(source: Path, split: str) -> list[Hdf5Pack]:
    """Returns the packs of a split that are there."""
    paths = audioset_weak.parts_in((source, source / "mp3"), split, _ENDING)
    return [Hdf5Pack(source, path.relative_to(source).as_posix()) for path in paths]


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return " or ".join(f"{part}_segments{_ENDING}" for part in PARTS[split])


def available_splits(source: Path) -> list[str]:
    """Returns the splits that `source` has packs for."""
    return [split for split in SPLITS if packs(source, split)]


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str | None = None,
) -> SourceSplit:
    """Reads names and labels from the packs, or tables; no sound.

    Args:
      source: The folder.
      split: A key of `PARTS`.
      vocabulary: The classes; by default all 527, or those the table uses.
      exclude: Not needed: nothing is searched.
      annotation: `frames` or `clips`; by default what is there, frames first.

    Raises:
      InputError: No pack is there, a pack or a table is unreadable or not of the form
        expected, or h5py is missing.
    """
    found = packs(source, split)
    if not found:
        raise InputError(f"no {expected(split)} in {source} or {source / 'mp3'}")
    if annotation is None:
        has_table = audioset_strong.table_path(source, split).is_file()
        annotation = FRAMES if has_table else CLIPS
    if annotation == FRAMES:
        sounds = (sound for pack in found for sound in pack.sounds() if sound[0])
        return audioset_strong.annotate(source, split, vocabulary, sounds, NAME)
    return _clip_labels(source, split, vocabulary, found)


def _clip_labels(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None,
    found: Iterable[Hdf5Pack],
) -> SourceSplit:
    classes = vocab.load(audioset_weak.VOCABULARY)
    # Labels behind the last class are damage; they are told as unknown.
    labels = [*classes.mids, *(f"class {k}" for k in range(len(classes), 8 * 66))]
    clips, audio, problems = ClipTableBuilder(), [], []
    for pack in found:
        for (clip, sound), active in zip(
            pack.sounds(), pack.labels(len(classes)), strict=True
        ):
            if not clip:
                what = f"{sound.name}: audio_name is not the name of a file"
                problems.append(Problem("", "unreadable_line", what))
                continue
            if clip in clips:
                what = f"{sound.name}: not used, the clip is there already"
                problems.append(Problem(clip, "duplicate_audio", what))
                continue
            row = clips.add_clip(clip, AUDIOSET_CLIP_SECONDS)
            audio.append(sound)
            for label in active:
                clips.add_event(row, RawEvent(*WHOLE_CLIP, labels[label], 0))
    return SourceSplit(
        NAME,
        split,
        source,
        vocabulary or classes,
        clips.build(audio),
        tuple(problems),
        CLIPS,
    )
