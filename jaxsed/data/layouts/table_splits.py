"""What somebody says of their own tables, and which split each line belongs to."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxsed.data.layouts.splits import at_random, split_called
from jaxsed.errors import InputError

_EVAL_SHARE = 0.1
_VALUES_IN_ERRORS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShareOptions:
    """Which clips are of which split where nothing says it; None: the defaults will do.

    Attributes:
      eval_share: How many of the clips are for evaluation.
      validation_share: How many are for validation; by default none.
      seed: Of the choice of these.
    """

    eval_share: float | None = None
    validation_share: float | None = None
    seed: int = 0

    def __post_init__(self):
        for name in ("eval_share", "validation_share"):
            share = getattr(self, name)
            if share is not None and not 0 < share < 1:
                raise InputError(
                    f"--{name.replace('_', '-')} {share:g}; expected a share between 0 "
                    "and 1, such as 0.1"
                )
        if self.eval_part + (self.validation_share or 0) >= 1:
            raise InputError(
                f"--eval-share {self.eval_part:g} and --validation-share "
                f"{self.validation_share:g} leave nothing to train on"
            )

    @property
    def eval_part(self) -> float:
        """How many of the clips are for evaluation, also by default."""
        return _EVAL_SHARE if self.eval_share is None else self.eval_share


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitOptions(ShareOptions):
    """What is said of any table of one's own; None where the defaults will do.

    Attributes:
      tables: Names relative to the data set; by default those that lie there.
      file_column: Column of the files.
      label_column: Column of the labels.
      split_column: Column of the splits or folds.
      eval_folds: Values of the column of folds that are for evaluation.
    """

    tables: tuple[str, ...] = ()
    file_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    eval_folds: tuple[str, ...] = ()


class SplitTable(NamedTuple):
    """What a table says of the splits.

    Attributes:
      path: The file, for errors.
      clips: The clip of every line.
      values: Of the column of splits or folds, a line each; None without the column.
      split: Of all lines, where the file's name says it; else None.
    """

    path: Path
    clips: list[str]
    values: list[str] | None
    split: str | None

    @property
    def says_splits(self) -> bool:
        """Whether it is known of every line which split it belongs to."""
        return self.values is not None or self.split is not None


def assign_splits(
    tables: Sequence[SplitTable], options: SplitOptions
) -> Iterator[list[str | None]]:
    """Yields the split of each line of each table; None for what is none (`unknown`).

    Raises:
      InputError: It is not clear what the splits are.
    """
    unsaid = [table for table in tables if not table.says_splits]
    if options.eval_folds and all(table.values is None for table in tables):
        raise InputError(
            f"{tables[0].path} has no column of folds; name it with --split-column"
        )
    for name in ("eval_share", "validation_share"):
        if getattr(options, name) is not None and not unsaid:
            raise InputError(
                f"--{name.replace('_', '-')} {getattr(options, name):g}: "
                f"{tables[0].path} says itself what the splits are"
            )
    clips = {clip for table in unsaid for clip in table.clips}
    chosen = _choose(clips, options) if unsaid else {}
    for table in tables:
        if table.values is not None:
            yield _by_column(table.path, table.values, options.eval_folds)
        elif table.split is not None:
            yield [table.split] * len(table.clips)
        else:
            yield [chosen.get(clip, "train") for clip in table.clips]


def unknown(value: str) -> str:
    """Says what is wrong with the value of a line that has no split."""
    return f"{value!r} is neither train, validation nor test"


def _choose(clips: set[str], options: ShareOptions) -> dict[str, str]:
    share = options.eval_part
    chosen = dict.fromkeys(at_random(clips, share, options.seed), "eval")
    if options.validation_share:
        rest = clips - chosen.keys()
        share = options.validation_share / (1 - share)
        of_rest = at_random(rest, share, options.seed)
        chosen |= dict.fromkeys(of_rest, "validation")
    return chosen


def _by_column(
    path: Path, values: list[str], folds: tuple[str, ...]
) -> list[str | None]:
    listed = sorted(set(values))
    if folds:
        missing = [fold for fold in folds if fold not in listed]
        if missing:
            raise InputError(f"{path}: no fold {missing[0]!r}; found {_some(listed)}")
        return ["eval" if value in folds else "train" for value in values]
    meant = {value: split_called(value) for value in listed}
    if not any(meant.values()):
        raise InputError(
            f"{path}: splits {_some(listed)} are neither train, validation nor "
            f"test; of folds, say which are for evaluation: --eval-folds {listed[-1]}"
        )
    return [meant[value] for value in values]


def _some(values: Sequence[str]) -> str:
    listed = ", ".join(map(repr, values[:_VALUES_IN_ERRORS]))
    return f"{listed}, ..." if len(values) > _VALUES_IN_ERRORS else listed
