"""A table as Markdown, LaTeX or CSV, and the lines below it that say what was done."""

import csv
import io
from collections.abc import Sequence

from jaxsed import metric_order
from jaxsed.evaluation.significance import ALPHA, BETTER_BELOW
from jaxsed.tables.runs import TEST
from jaxsed.tables.table import HIGHER, LOWER, Entry, Table

# Measures that are no parts of a whole; all others are shown in percent, as in the papers.
NOT_IN_PERCENT = (*metric_order.LOWER_IS_BETTER, "d_prime")
MORE_DIGITS = 2  # of those
MARKS = {HIGHER: "▲", LOWER: "▼"}
LATEX_MARKS = {HIGHER: r"$^{\uparrow}$", LOWER: r"$^{\downarrow}$"}
CSV_COLUMNS = (
    *("row", "column", "metric", "data", "mean", "spread", "n", "over", "best"),
    *("reference", "verdict", "epsilon_above", "epsilon_below", "values"),
)
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    # Other characters in TeX's own text fonts.
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # Behind the end of a line, these two would be its arguments.
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "▲": LATEX_MARKS[HIGHER],
    "▼": LATEX_MARKS[LOWER],
}


def markdown(table: Table, digits: int, notes: Sequence[str]) -> str:
    """Returns the table, aligned for reading as plain text too, and the notes below it."""
    lines = [["", *map(_plain, _titles(table))]]
    for row in table.rows:
        cells = [_plain(row)]
        for column in table.columns:
            entry = table.entries.get((row, column))
            text = _score(entry, digits)
            if entry:
                text = f"**{text}**" if entry.is_best else text
                text += MARKS.get(entry.verdict, "")
            cells.append(text)
        lines.append(cells)
    first, *others = (max(map(len, column)) for column in zip(*lines))
    rule = ["-" * (first + 2), *("-" * (width + 1) + ":" for width in others)]
    text = [_aligned(line, (first, *others)) for line in lines]
    text.insert(1, f"|{'|'.join(rule)}|")
    return "\n".join([*text, "", *(f"- {note}" for note in notes)]) + "\n"


def latex(table: Table, digits: int, notes: Sequence[str]) -> str:
    """Returns a `tabular` with the rules of booktabs, and the notes as small print."""
    lines = [
        r"\begin{tabular}{l" + "c" * len(table.columns) + "}",
        r"\toprule",
        " & ".join(["", *(_escaped(title) for title in _titles(table))]) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        cells = [_escaped(row)]
        for column in table.columns:
            entry = table.entries.get((row, column))
            text = _escaped(_score(entry, digits))
            if entry:
                text = rf"\textbf{{{text}}}" if entry.is_best else text
                text += LATEX_MARKS.get(entry.verdict, "")
            cells.append(text)
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if notes:
        lines.append(r"\par\smallskip{\footnotesize")
        lines += [rf"{_escaped(note)}\par" for note in notes]
        lines.append("}")
    return "\n".join(lines) + "\n"


def as_csv(table: Table, digits: int, notes: Sequence[str]) -> str:
    """Returns one line a cell, with all that is known of it; for programs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in table.rows:
        for column in table.columns:
            entry = table.entries.get((row, column))
            if entry is not None:
                writer.writerow(_csv_row(table, row, column, entry))
    return text.getvalue()


def _csv_row(table: Table, row: str, column: str, entry: Entry) -> dict[str, object]:
    found = entry.samples
    above, below = entry.epsilons or ("", "")
    return {
        "row": row,
        "column": column,
        "metric": entry.metric,
        "data": entry.data,
        "mean": found.mean,
        "spread": "" if found.spread is None else found.spread,
        "n": len(found.values),
        "over": found.over,
        "best": int(entry.is_best),
        "reference": table.reference or "",
        "verdict": entry.verdict or "",
        "epsilon_above": above,
        "epsilon_below": below,
        "values": " ".join(map(str, found.values.tolist())),
    }


FORMATS = {"md": markdown, "csv": as_csv, "latex": latex}


def notes(table: Table) -> list[str]:
    """Returns what a reader has to know: measures, repeats, data, what is compared."""
    entries = list(table.entries.values())
    said = []
    for metric in table.metrics():
        unit = "" if metric in NOT_IN_PERCENT else " in %"
        better = "less" if metric_order.lower_is_better(metric) else "more"
        said.append(f"{metric}{unit}; {better} is better.")
    counts = sorted({len(entry.samples.values) for entry in entries})
    over = "/".join(dict.fromkeys(entry.samples.over for entry in entries))
    if counts == [1]:
        said.append("One run in every cell: there is no spread, and nothing to test.")
    else:
        n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        said.append(f"Mean ± standard deviation over {n} {over}.")
    said.append(_of_data(entries))
    if table.reference is None:
        return said
    said.append("Bold: the best of its column.")
    tests = {row: table.tests_of(row) for row in table.rows if row != table.reference}
    if any(tests.values()):
        models = sorted({n for n in tests.values() if n})
        corrected = " or ".join(map(str, models))
        said.append(
            f"▲ significantly higher, ▼ significantly lower than “{table.reference}” in "
            "the same column; no mark: neither. Almost Stochastic Order, alpha = "
            f"{ALPHA:g} with Bonferroni's correction for {corrected} "
            f"column{'s' if models != [1] else ''}, epsilon_min < {BETTER_BELOW:g}."
        )
    for why in dict.fromkeys(why for row in tests for why in table.why_untested(row)):
        rows = [row for row in tests if why in table.why_untested(row)]
        said.append(f"Not tested everywhere, {why}: {', '.join(rows)}.")
    return said


def _of_data(entries: Sequence[Entry]) -> str:
    kinds = {entry.data for entry in entries}
    if kinds == {TEST}:
        return "Scores are of test data that nothing was selected on."
    if TEST not in kinds:
        return "Scores are of the data that the runs were evaluated on in training."
    return (
        "Scores of grids and tests are of test data that nothing was selected on, others of the data "
        "that the runs were evaluated on in training."
    )


def _titles(table: Table) -> list[str]:
    if len(table.metrics()) == 1:
        return list(table.columns)
    return [f"{column} ({table.column_metric(column)})" for column in table.columns]


def _score(entry: Entry | None, digits: int) -> str:
    if entry is None:
        return "-"
    scale = 1 if entry.metric in NOT_IN_PERCENT else 100
    digits += MORE_DIGITS if scale == 1 else 0
    text = f"{scale * entry.samples.mean:.{digits}f}"
    if entry.samples.spread is None:
        return text
    return f"{text} ± {scale * entry.samples.spread:.{digits}f}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])]
    return f"| {' | '.join([first, *others])} |"


def _plain(text: str) -> str:
    """Returns a name as Markdown shows it as it is, in a cell of a table."""
    return "".join(f"\\{char}" if char in r"\|*<`" else char for char in text)


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
