"""Speech Commands (Warden 2018), version 2: which of 35 words is spoken.

    SRC/testing_list.txt                    bed/0c40e715_nohash_0.wav
    SRC/validation_list.txt                 the same
    SRC/bed/0c40e715_nohash_0.wav           a folder a word

Utterances in the lists are `eval` and `validation`, all others that are there are
`train`. So what is missing can be told of the first two only. `_background_noise_` is
no word. An utterance is called `bed-0c40e715_nohash_0` and lasts a second or less.
"""

import math
from pathlib import Path

from jaxsed.data.layouts.audio_source import AudioSource
from jaxsed.data.layouts.clip_listing import ClipListing, classes_of
from jaxsed.data.layouts.matching import find_audio, match_paths
from jaxsed.data.layouts.source import CLIPS, SINGLE, SourceSplit
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import clip_id, clip_path
from jaxsed.labels.tables import read_rows
from jaxsed.labels.vocab import Vocabulary

NAME = "speech_commands"
SPLITS = ("train", "validation", "eval")
ANNOTATIONS = (CLIPS,)
_LISTS = {"validation": "validation_list.txt", "eval": "testing_list.txt"}
_NO_WORD = "_background_noise_"


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return " and ".join(_LISTS.values())


def available_splits(source: Path) -> list[str]:
    """Returns all splits where both lists are there, else none."""
    has_lists = all((source / name).is_file() for name in _LISTS.values())
    return list(SPLITS) if has_lists else []


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str = CLIPS,
) -> SourceSplit:
    """Reads the lists and finds audio; opens no sound file.

    Args:
      source: The folder.
      split: `train`, `validation` or `eval`.
      vocabulary: The classes; by default the words of the lists and the folders.
      exclude: A folder in which not to look for audio.
      annotation: There is but `clips`.

    Raises:
      InputError: A list is not there or unreadable, or there is nothing of the split.
    """
    if not available_splits(source):
        raise InputError(f"{source} lacks {expected(split)}")
    listing = ClipListing(SINGLE)
    listed = {
        name: _listed(source / table, listing if name == split else ClipListing(SINGLE))
        for name, table in _LISTS.items()
    }
    found = [
        (stem, sound)
        for stem, sound in find_audio(source, exclude, {_NO_WORD})
        if sound.name.count("/") == 1
    ]
    elsewhere = listed["validation"].keys() | listed["eval"].keys()
    others = {path: 0 for path in map(_path, found) if path not in elsewhere}
    lines = listed.get(split, others)
    if not lines:
        where = _LISTS.get(split, "no WORD/UTTERANCE.wav that is in neither list")
        raise InputError(f"{source}: nothing of {split} ({where})")
    paths = sorted(lines)
    for path in paths:
        word = path.partition("/")[0]
        listing.add(clip_id(path), math.nan, [word], lines[path])
    audio = match_paths(paths, listing.clips, found, listing.problems)
    words = {path.partition("/")[0] for path in (*elsewhere, *others)}
    vocabulary = vocabulary or classes_of(words, NAME)
    return listing.split(NAME, split, source, vocabulary, listing.build(audio))


def _path(found: tuple[str, AudioSource]) -> str:
    return clip_path(found[1].name)


def _listed(table: Path, listing: ClipListing) -> dict[str, int]:
    """Returns the utterances of a list, and their lines; notes what is none."""
    lines = {}
    for line, cells in read_rows(table, "\n"):
        path = clip_path(cells[0])
        if path.count("/") == 1:
            lines[path] = line
        else:
            what = f"{cells[0]!r} is not WORD/UTTERANCE.wav"
            listing.reject("unreadable_line", table, line, what)
    return lines
