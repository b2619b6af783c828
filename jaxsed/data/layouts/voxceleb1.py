"""VoxCeleb1, identification (Nagrani et al. 2017): which of 1,251 people speaks.

    SRC/iden_split.txt              # 3 id10270/5r0dWxy17C8/00001.wav
    SRC/**/id10270/5r0dWxy17C8/00001.wav        in any sub-folders, such as wav/

The list, as released, gives every utterance its split: 1, 2 and 3 are `train`,
`validation` and `eval`. It may also lie in SRC/meta or SRC/metadata. The archives are
for verification: their folders `dev` and `test` are other splits, and both are needed.

An utterance is called `id10270-5r0dWxy17C8-00001`, its class is the speaker's id, and it
may last as long as it likes (4 to 145 s). Any format that libsndfile reads will do; it
does not read `.m4a`. The classes are the speakers of the whole list, sorted.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from jaxsed.data.layouts.clip_listing import ClipListing, classes_of
from jaxsed.data.layouts.matching import find_audio, match_paths
from jaxsed.data.layouts.source import CLIPS, SINGLE, SourceSplit
from jaxsed.errors import InputError
from jaxsed.folders import first_file
from jaxsed.labels.clip_names import clip_id, clip_path
from jaxsed.labels.tables import read_rows
from jaxsed.labels.vocab import Vocabulary

NAME = "voxceleb1"
SPLITS = ("train", "validation", "eval")
ANNOTATIONS = (CLIPS,)
TABLE = "iden_split.txt"
_FOLDERS = ("", "meta", "metadata")
_CODES = dict(zip(("1", "2", "3"), SPLITS))


def table_of(source: Path) -> Path | None:
    """Returns the list of utterances, None if there is none."""
    return first_file((source / folder for folder in _FOLDERS), TABLE)


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return TABLE


def available_splits(source: Path) -> list[str]:
    """Returns the splits that the list has utterances of; all of one that has none.

    `read` then says what is wrong with it.
    """
    table = table_of(source)
    if table is None:
        return []
    listed = {_CODES.get(code) for code, _, _ in _rows(table, ClipListing(SINGLE))}
    return [split for split in SPLITS if split in listed] or list(SPLITS)


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str = CLIPS,
) -> SourceSplit:
    """Reads the list and finds audio; opens no sound file.

    Args:
      source: The folder.
      split: `train`, `validation` or `eval`.
      vocabulary: The classes; by default the speakers of the list.
      exclude: A folder in which not to look for audio.
      annotation: There is but `clips`.

    Raises:
      InputError: The list is not there, is unreadable, or has nothing of the split.
    """
    table = table_of(source)
    if table is None:
        raise InputError(f"no {TABLE} in {source}, nor in its meta or metadata")
    listing = ClipListing(SINGLE)
    speakers, paths = set(), {}
    for code, path, line in _rows(table, listing):
        if code not in _CODES:
            what = f"{code!r}; 1, 2 and 3 are train, validation and test"
            listing.reject("unknown_split", table, line, what)
            continue
        speaker = path.partition("/")[0]
        speakers.add(speaker)
        if _CODES[code] == split:
            utterance = clip_id(path)
            paths[utterance] = path
            listing.add(utterance, math.nan, [speaker], line)
    if not paths:
        raise InputError(
            f"{table}: no line of {split} can be read as 1, 2 or 3 and "
            "SPEAKER/VIDEO/UTTERANCE.wav"
        )
    utterances = listing.clips
    found = find_audio(source, exclude)
    problems = listing.problems
    audio = match_paths([paths[u] for u in utterances], utterances, found, problems)
    vocabulary = vocabulary or classes_of(speakers, NAME)
    return listing.split(NAME, split, source, vocabulary, listing.build(audio))


def _rows(table: Path, listing: ClipListing) -> Iterator[tuple[str, str, int]]:
    """Yields code, path without ending, and line."""
    for line, cells in read_rows(table, " "):
        path = clip_path(cells[1]) if len(cells) == 2 else ""
        if path.count("/") == 2:
            yield cells[0], path, line
        else:
            what = (
                f"{' '.join(cells)!r} is not a number and SPEAKER/VIDEO/UTTERANCE.wav"
            )
            listing.reject("unreadable_line", table, line, what)
