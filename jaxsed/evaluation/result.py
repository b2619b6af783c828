"""What every evaluator returns, and how it is printed and written."""

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxsed import metric_order
from jaxsed.atomic import write_atomically


class MissingClips(NamedTuple):
    """What a partial copy of a data set lacks.

    Attributes:
        per_class: for every class of the data, how many listed clips with it are absent.
        n_absent: listed clips that are absent.
        n_listed: clips that the data set lists.
    """

    per_class: Sequence[int]
    n_absent: int
    n_listed: int

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> "MissingClips":
        """Reads the manifest that `jaxsed prepare` writes.

        Args:
            manifest: with `classes` (a dict with `missing` for each class of the data's
                vocabulary), `clips` and `clips_listed`.
        """
        listed = manifest["clips_listed"]
        per_class = [of_class["missing"] for of_class in manifest["classes"]]
        return cls(per_class, listed - manifest["clips"], listed)

    def notes(self) -> list[str]:
        """Returns a line that says so, or none where nothing is missing."""
        if not self.n_absent:
            return []
        return [
            f"{self.n_absent} of the {self.n_listed} clips that the data set lists are "
            "absent from the data (column missing: those with each class)"
        ]


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of an evaluation.

    Attributes:
        summary: measures and counts of the whole set.
        per_class: one dict a scored class, all with the same keys: `class`, `mid`,
            counts, then measures.
        notes: one line for everything that was left out, with its number.
        skipped: how many things were left out because something was wrong with them.
    """

    summary: dict[str, float]
    per_class: list[dict[str, Any]]
    notes: list[str] = dataclasses.field(default_factory=list)
    skipped: int = 0

    def frame(self) -> Any:
        """Returns the per-class table as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.per_class)

    def format_table(self) -> str:
        """Returns summary, per-class table (best class first) and notes as text."""
        width = max([12, *map(len, self.summary)])
        lines = [f"{k:<{width}} {_text(value)}" for k, value in self.summary.items()]
        if self.per_class:
            columns = [key for key in self.per_class[0] if key != "mid"]
            measure = columns[-1]
            for name in ("psds1", "map"):
                measure = name if name in columns else measure
            ranked = sorted(
                self.per_class, key=lambda row: _rank(measure, row[measure])
            )
            cells = [[_text(row[key]) for key in columns] for row in ranked]
            lines += ["", *_aligned([columns, *cells])]
        if self.notes:
            lines += ["", *(f"note: {note}" for note in self.notes)]
        return "\n".join(lines)


def write_table(result: Result, path: str | os.PathLike) -> None:
    """Writes the per-class table as TSV, atomically."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    if result.per_class:
        writer.writerow(result.per_class[0])
        writer.writerows(row.values() for row in result.per_class)
    write_atomically(Path(path), text.getvalue())


def write_summary(result: Result, path: str | os.PathLike) -> None:
    """Writes summary and notes as JSON, atomically; what is not a number is null."""
    summary = {
        name: value if math.isfinite(value) else None
        for name, value in result.summary.items()
    }
    value = {"summary": summary, "notes": result.notes, "skipped": result.skipped}
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(Path(path), text)


def examples(names: Sequence[str], n_shown: int = 3) -> str:
    """Returns the first few of a list for a note: `a, b, c, ...`."""
    more = ", ..." if len(names) > n_shown else ""
    return ", ".join(str(name) for name in names[:n_shown]) + more


def _rank(measure: str, value: float) -> float:
    return math.inf if math.isnan(value) else -metric_order.sign(measure) * value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    return str(value)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        ).rstrip()
        for row in rows
    ]
