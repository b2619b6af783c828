"""A folder of recordings, of any length, of which nothing is said: to learn from sounds alone.

    SRC/**/*                    sound, in any sub-folders

Tables and label files are not read. Pre-training (step 1) learns from such data; whatever
needs labels refuses them.

Splits are those that files or their folders are called by, if all are (LibriSpeech's
`train-clean-100`, `dev-clean`, `test-clean`), else recordings are chosen at random, by their
names and a seed. A recording is called by its path, without the folder that all have in
common and without the ending.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from jaxsed.data.layouts.event_listing import EventListing
from jaxsed.data.layouts.matching import Found, find_audio, match_paths, path_of
from jaxsed.data.layouts.source import NONE, SourceSplit
from jaxsed.data.layouts.splits import SPLITS, split_of_file
from jaxsed.data.layouts.table_splits import (
    ShareOptions,
    SplitOptions,
    SplitTable,
    assign_splits,
)
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import clip_ids, is_sound
from jaxsed.labels.vocab import Vocabulary

NAME = "sounds"
ANNOTATIONS = (NONE,)
OPTIONS = ShareOptions
# A list of classes is never empty; of this one nobody says where it sounds.
VOCABULARY = Vocabulary("sounds", ("Sound",))
_DEFAULTS = ShareOptions()


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return "sound files, in any sub-folders"


def available_splits(source: Path, options: ShareOptions = _DEFAULTS) -> list[str]:
    """Returns the splits that there are recordings of.

    Raises:
      InputError: Shares are given where names say the splits, or there is one recording.
    """
    there = set(_splits(source, _sounds(source), options).values())
    return [split for split in SPLITS if split in there]


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str = NONE,
    options: ShareOptions = _DEFAULTS,
) -> SourceSplit:
    """Finds the recordings; opens no sound file.

    Args:
      source: The folder.
      split: `train`, `validation` or `eval`.
      vocabulary: There is none to give.
      exclude: A folder in which not to look.
      annotation: There is but `none`.
      options: How many recordings are of which split, where names do not say.

    Raises:
      InputError: A vocabulary is given, shares are given where names say the splits, or
        there is no recording of this one.
    """
    if vocabulary is not None:
        raise InputError(
            f"--vocabulary: layout {NAME} reads no labels; leave it out, or use a layout "
            "that does"
        )
    found = _sounds(source, exclude)
    splits = _splits(source, found, options)
    if split not in splits.values():
        raise InputError(f"{source}: no recording of {split}")
    ids = clip_ids(splits)
    listing = EventListing()
    paths = [path for path in sorted(splits) if splits[path] == split]
    clips = [ids[path] for path in paths]
    for clip in clips:
        listing.add_nothing(clip)
    own = [each for each in found if splits[path_of(each)] == split]
    audio = match_paths(paths, clips, own, listing.problems)
    split_found = listing.split(NAME, split, source, VOCABULARY, audio)
    return split_found._replace(annotation=NONE)


def _sounds(source: Path, exclude: Path | None = None) -> list[Found]:
    return [each for each in find_audio(source, exclude) if is_sound(each[1].name)]


def _splits(
    source: Path, found: Iterable[Found], options: ShareOptions
) -> dict[str, str]:
    """Returns the split of every recording, by its path."""
    paths = sorted(set(map(path_of, found)))
    if not paths:
        return {}
    called = [split_of_file(path) for path in paths]
    table = SplitTable(source, paths, called if all(called) else None, None)
    shares = SplitOptions(**dataclasses.asdict(options))
    (splits,) = assign_splits([table], shares)
    return dict(zip(paths, splits))
