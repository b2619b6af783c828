"""Pages of docs/ whose measured part a benchmark writes, between two marks."""

from collections.abc import Sequence
from pathlib import Path

BEGIN, END = "<!-- measured -->\n", "<!-- end -->"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def write(page: Path, measured: str) -> None:
    """Writes the measured part between the page's marks; makes a page that is not there."""
    text = page.read_text(encoding="utf-8") if page.exists() else f"{BEGIN}{END}\n"
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{measured}\n{END}{after}", encoding="utf-8")
