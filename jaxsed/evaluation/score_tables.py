"""Frame scores as a folder of files, one a clip: TSVs in the format of sed_scores_eval.

A file `CLIP_ID.tsv` has a header `onset offset CLASS ...` and a row a frame: its start and
end in seconds and the scores of the classes. Files may lie in sub-folders, as those of
`jaxsed detect` do for recordings that do; clips are called by their paths
(`jaxsed.labels.clip_names`). Scores may be probabilities or logits. The archives that
`jaxsed detect --scores-format npz` writes are read, too.
"""

import csv
import functools
import mmap
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from jaxsed.atomic import replacing
from jaxsed.errors import InputError
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels import vocab
from jaxsed.labels.clip_names import clip_ids, composed
from jaxsed.labels.vocab import Vocabulary

_ENDINGS = (".tsv", ".npz")  # of two files of a clip, the first is read
# How much frames of one length may differ: some systems divide each clip's length by its
# number of frames, and write times to a millisecond.
_UNEVEN_PART = 0.05
_ROUNDED_SECONDS = 1.1e-3
_CLIPS_KEPT = 256  # read from the temporary file before their memory is given back


class ScoreTables:
    """The scores of a folder of TSVs or archives, read once.

    Clips may differ in length and in their frames. The values are kept as float64 in an
    unnamed temporary file, so that a set larger than the memory can be evaluated.

    Attributes:
        path: the folder.
        ids: clip ids, sorted: names of files without their endings.
        vocabulary: the columns of the first file; the others may order them differently.
        durations: None; the format does not hold them.
        dtype: of the scores, float64.
        problems: one line for every file that was left out, saying why.
    """

    durations = None
    dtype = np.dtype(np.float64)

    def __init__(self, path: str | os.PathLike):
        """Reads all files of a folder.

        Args:
            path: the folder.

        Raises:
            InputError: no readable file in the folder, or two for the same clip.
        """
        self.path = Path(path)
        files = files_of(self.path)
        if not files:
            raise InputError(
                f"{self.path}: no TSV or npz in it; expected one CLIP_ID.tsv a clip with the "
                "columns onset, offset and one a class"
            )
        self.ids: list[str] = []
        self.problems: list[str] = []
        self._timestamps: list[np.ndarray] = []
        self._first_row = [0]
        with tempfile.TemporaryFile() as values:
            names = self._collect(files, values)
            if not self.ids:
                raise InputError(f"no usable score file: {self.problems[0]}")
            values.flush()
            # The map keeps the file alive; it is gone from the folder already.
            self._map = mmap.mmap(values.fileno(), 0, access=mmap.ACCESS_READ)
        self.vocabulary = _vocabulary(self.path.name or "scores", names)
        self._row_of = {clip_id: row for row, clip_id in enumerate(self.ids)}

    def _collect(self, files: Mapping[str, Path], values: IO[bytes]) -> list[str]:
        """Appends the scores of all usable files to `values`; returns the classes."""
        names: list[str] = []
        for clip_id, file in files.items():
            try:
                read = read_archive if file.suffix == ".npz" else read_table
                columns, timestamps, scores = read(file)
                scores = _in_order(file, scores, columns, names or columns)
            except InputError as error:
                self.problems.append(str(error))
                continue
            names = names or columns
            self.ids.append(clip_id)
            self._timestamps.append(timestamps)
            self._first_row.append(self._first_row[-1] + len(scores))
            # Class by class, as they are read again.
            values.write(np.ascontiguousarray(scores.T, np.float64).data)
        return names

    def row(self, clip_id: str) -> int | None:
        """Returns the row of a clip, or None if there are no scores for it."""
        return self._row_of.get(clip_id)

    def timestamps(self, row: int) -> np.ndarray:
        """Returns the borders of a clip's frames in seconds, `[t + 1]`."""
        return self._timestamps[row]

    @functools.cached_property
    def frame_seconds(self) -> float:
        """Distance of two frames in seconds, of the clip with most of them.

        Raises:
            InputError: frames of this or another clip last otherwise; the last one of a
                clip may be cut off.
        """
        longest = max(range(len(self.ids)), key=lambda row: len(self._timestamps[row]))
        borders = self._timestamps[longest]
        borders = borders[: max(len(borders) - 1, 2)]
        seconds = float((borders[-1] - borders[0]) / (len(borders) - 1))
        most = _UNEVEN_PART * seconds + _ROUNDED_SECONDS
        for row, borders in enumerate(self._timestamps):
            lengths = np.diff(borders)[:-1]
            odd = lengths[np.abs(lengths - seconds) > most]
            if len(odd):
                raise InputError(
                    f"{self.path}: clip {self.ids[row]!r} has frames of {odd[0]:g} s, "
                    f"{self.ids[longest]!r} of {seconds:g} s: no median filter is as wide "
                    "for both; give --median 0, or evaluate them apart"
                )
        return seconds

    def blocks(
        self, rows: Sequence[int], columns: Sequence[int]
    ) -> Iterator[tuple[range, list[np.ndarray]]]:
        """Reads some classes, clip by clip.

        Args:
            rows: clips.
            columns: classes.

        Yields:
            `(clips, scores)`: the place of one clip in `rows`, and one float64 `[t]`
            for each of `columns`.
        """
        n_classes = len(self.vocabulary)
        scores = np.frombuffer(self._map, np.float64)
        for place, row in enumerate(rows):
            first, stop = self._first_row[row : row + 2]
            clip = scores[n_classes * first : n_classes * stop]
            clip = clip.reshape(n_classes, stop - first)
            yield range(place, place + 1), [clip[column] for column in columns]
            if place % _CLIPS_KEPT == 0 and hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)  # it stays in the file


def files_of(folder: Path) -> dict[str, Path]:
    """Returns clip id -> file, sorted, of the scores in a folder and below.

    Raises:
        InputError: two are of the same clip.
    """
    files = {
        composed(file.relative_to(folder).as_posix()[: -len(ending)]): file
        for ending in reversed(_ENDINGS)
        for file in folder.rglob(f"*{ending}")
        if file.is_file()
    }
    ids = clip_ids(files)
    return {ids[path]: files[path] for path in sorted(files, key=ids.get)}


def read_table(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Reads the TSV of one clip.

    Returns:
        `(class names, frame borders in seconds [t + 1], scores float64 [t, c])`.

    Raises:
        InputError: unreadable, columns missing, not numbers, not finite, or frames that
            do not follow each other; the message names the file.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            columns = next(csv.reader(file, delimiter="\t"), [])
            if columns[:2] != ["onset", "offset"] or len(columns) < 3:
                raise InputError(
                    f"{path}: columns are {columns[:4]}, expected onset, offset and "
                    "then one a class, separated by tabs"
                )
            text = [line for line in file if line.strip()]
            if not text:
                raise InputError(f"{path}: 0 rows of scores")
            table = np.loadtxt(text, np.float64, delimiter="\t", ndmin=2, comments=None)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: cannot be read as a score table ({error})"
        ) from error
    if table.shape[1] != len(columns):
        raise InputError(
            f"{path}: {table.shape[0]} rows of {table.shape[1]} values under "
            f"{len(columns)} columns"
        )
    _check(path, table[:, 0], table[:, 1], table)
    return columns[2:], np.append(table[:, 0], table[-1, 1]), table[:, 2:]


def read_archive(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Reads the npz of one clip: `scores [t, c]`, `labels [c]`, `frame_borders [t + 1]`.

    Returns:
        As `read_table`.

    Raises:
        InputError: as of `read_table`.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            labels = [str(label) for label in archive["labels"]]
            borders = archive["frame_borders"].astype(np.float64)
            scores = archive["scores"].astype(np.float64)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: cannot be read as an archive of scores ({error})"
        ) from error
    if not labels or scores.shape != (len(borders) - 1, len(labels)):
        raise InputError(
            f"{path}: scores {list(scores.shape)} for {len(labels)} classes and "
            f"{len(borders)} borders of frames"
        )
    _check(path, borders[:-1], borders[1:], scores)
    return labels, borders, scores


def _check(
    path: Path, onsets: np.ndarray, offsets: np.ndarray, values: np.ndarray
) -> None:
    if not np.isfinite(values).all():
        raise InputError(f"{path}: holds values that are not finite")
    if (
        not (onsets[:1] >= 0).any()
        or not (offsets > onsets).all()
        or np.abs(onsets[1:] - offsets[:-1]).max(initial=0) > 1e-6
    ):
        raise InputError(
            f"{path}: frames must not be empty, must start at 0 or later, and each must "
            "start where the one before ends"
        )


def write_tables(
    store: ScoreStore, path: str | os.PathLike, *, probabilities: bool = True
) -> int:
    """Writes the clips of a store as TSVs for other toolkits.

    Args:
        store: the scores; rows that are not written yet are left out.
        path: the folder; files already in it are replaced.
        probabilities: apply the sigmoid; otherwise the logits are written.

    Returns:
        The number of files.

    Raises:
        InputError: a clip id that cannot be a file name.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    rows = np.flatnonzero(store.written)
    for row in rows:
        clip_id = store.ids[row]
        if Path(clip_id).name != clip_id:
            raise InputError(f"clip id {clip_id!r} cannot be a file name; rename it")
        scores = store.logits[row].astype(np.float64)
        if probabilities:
            with np.errstate(over="ignore"):  # exp(710) is inf, and 1 / inf is right
                scores = 1 / (1 + np.exp(-scores))
        borders = store.timestamps(row)
        table = np.column_stack([borders[:-1], borders[1:], scores]).tolist()
        with (
            replacing(path / f"{clip_id}.tsv", durable=False) as beside,
            open(beside, "w", encoding="utf-8", newline="") as file,
        ):
            header = ["onset", "offset", *store.vocabulary.names]
            csv.writer(file, delimiter="\t", lineterminator="\n").writerow(header)
            # repr of a float is the shortest text that reads back as the same number.
            file.writelines("\t".join(map(repr, frame)) + "\n" for frame in table)
    return len(rows)


def _vocabulary(name: str, columns: list[str]) -> Vocabulary:
    """Columns may be display names, or AudioSet MIDs as in PretrainedSED's scores."""
    names, mids = [], []
    for column in columns:
        mid = column if column.startswith(("/m/", "/g/", "/t/")) else None
        shipped = [v for v in map(vocab.load, vocab.SHIPPED) if mid and mid in v]
        names.append(shipped[0].names[shipped[0].index(mid)] if shipped else column)
        mids.append(mid)
    return Vocabulary(name, tuple(names), tuple(mids))


def _in_order(
    file: Path, scores: np.ndarray, columns: list[str], wanted: list[str]
) -> np.ndarray:
    if columns == wanted and len(set(columns)) == len(columns):
        return scores
    if sorted(columns) != sorted(wanted) or len(set(columns)) != len(columns):
        odd = sorted(set(columns) ^ set(wanted)) or ["a repeated one"]
        raise InputError(
            f"{file}: its classes differ from those of the other files ({odd[0]!r})"
        )
    return scores[:, [columns.index(name) for name in wanted]]
