"""Which columns of somebody's own table of events say what."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxsed.data.layouts.clip_columns import choose_column, find_split_column
from jaxsed.data.layouts.table_splits import SplitOptions
from jaxsed.errors import InputError, check_known
from jaxsed.labels.column_names import (
    EVENT_LABEL_COLUMNS,
    FILE_COLUMNS,
    OFFSET_COLUMNS,
    ONSET_COLUMNS,
    column_of_durations,
    refuse_other_times,
)

TABLE, AUDACITY, RAVEN = "table", "audacity", "raven"
LABEL_FORMATS = (TABLE, AUDACITY, RAVEN)
LEFT_OUT, NOTHING_SOUNDS = "left_out", "nothing"
UNLABELLED = (LEFT_OUT, NOTHING_SOUNDS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EventOptions(SplitOptions):
    """What somebody says of their own labels of events.

    Attributes:
      onset_column: Column of the onsets.
      offset_column: Column of the offsets.
      label_format: `table`, `audacity` or `raven`; by default what is there.
      unlabelled: What a recording is that nothing is said of: `left_out`, or `nothing`,
        one in which nothing sounds.
    """

    onset_column: str | None = None
    offset_column: str | None = None
    label_format: str | None = None
    unlabelled: str = LEFT_OUT

    def __post_init__(self):
        super().__post_init__()
        check_known("--unlabelled", self.unlabelled, UNLABELLED)
        if self.label_format is None:
            return
        check_known("--label-format", self.label_format, LABEL_FORMATS)
        for name in ("tables", "file_column", "split_column", "eval_folds"):
            if self.label_format != TABLE and getattr(self, name):
                option = name.replace("_", "-").replace("tables", "table")
                raise InputError(
                    f"--{option} is for tables; label files of {self.label_format} lie "
                    "beside the recordings and are split at random"
                )


class EventColumns(NamedTuple):
    """The columns that say what an event is, as the header spells them."""

    onset: str
    offset: str
    label: str


def find_event_columns(
    table: Path, header: Sequence[str], options: EventOptions
) -> EventColumns:
    """Chooses the columns of an event.

    Raises:
      InputError: One is not there; names the nearest one, and how to choose. Or times
        are no seconds from the start of the recording, going by what they are called.
    """
    onset = choose_column(table, header, "onset", options.onset_column, ONSET_COLUMNS)
    asked = options.offset_column or column_of_durations(header)
    offset = choose_column(table, header, "offset", asked, OFFSET_COLUMNS)
    for name in (onset, offset):
        refuse_other_times(table, name)
    label = options.label_column
    label = choose_column(table, header, "label", label, EVENT_LABEL_COLUMNS)
    return EventColumns(onset, offset, label)


def find_file_and_split(
    table: Path, header: Sequence[str], options: EventOptions
) -> tuple[str, str | None]:
    """Chooses the columns of the file and of the split or fold, None if there is none.

    Raises:
      InputError: The one of the files is not there, or one that was asked for.
    """
    file = choose_column(table, header, "file", options.file_column, FILE_COLUMNS)
    return file, find_split_column(table, header, options)
