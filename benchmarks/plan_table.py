"""Plans all full-size trainings for slices of 16 chips: the table of docs/plan.md.

    python -m benchmarks.plan_table [--recipes student,teacher] [--models beats,m2d]
        [--topologies v5e:4x4] [--config.key=value ...] [--out docs/plan.md] [--again]

Compiles one training after the other (4 to 15 minutes of one core each) and writes each
row as soon as it is there. Rows that are there already are left out, so the same command
goes on where it was stopped. Needs libtpu, as `jaxsed plan` does, and no TPU.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.common import STARTS
from jaxsed.plan.plan_command import DOES_NOT_FIT

RECIPES = ("student", "teacher")
TOPOLOGIES = ("v5e:4x4", "v6e:4x4", "v5p:2x2x4", "v4:2x2x4")
COLUMNS = (
    *("recipe", "model", "topology", "settings"),
    *("memory, GiB", "step, ms", "computing", "kernels", "waiting"),
    "model FLOPs at peak",
    *(
        "MFU",
        "without waiting",
        "clips/s",
        "clips/s a host",
        "hours",
        "device hours",
    ),
    "where computing goes",
)
N_KEYS = 4  # columns that name a row
BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"
N_PARTS = 3


def cells(plan: Mapping[str, Any]) -> list[str]:
    """Returns a row of a plan's figures, without the columns that name it."""
    memory = plan["memory"]
    total = memory["total_bytes"]
    needed = "?" if total is None else f"{total / 2**30:.1f}"
    held = f"{needed} of {memory['device_bytes'] / 2**30:.0f}"
    if "time" not in plan:
        return [f"{held}: does not fit", *[""] * (len(COLUMNS) - N_KEYS - 1)]
    time, training = plan["time"], plan["training"]
    milliseconds = [
        f"{1e3 * time[name]:.1f}"
        for name in ("step", "computing", "kernels", "waiting", "arithmetic")
    ]
    all_parts = sum(part["seconds"] for part in plan["parts"])
    parts = [
        f"{part['scope'] or 'no name'}{_direction(part)} "
        f"{part['seconds'] / all_parts:.0%}"
        for part in plan["parts"][:N_PARTS]
    ]
    return [
        held if memory["fits"] else f"{held}: does not fit",
        *milliseconds,
        f"{time['mfu']:.0%}",
        f"{time['mfu_computing']:.0%}",
        f"{training['clips_per_second']:,.0f}",
        f"{plan['loader']['clips_per_second_per_host']:,.0f}",
        f"{training['hours']:.2f}",
        f"{training['device_hours']:.1f}",
        ", ".join(parts),
    ]


def _direction(part: Mapping[str, Any]) -> str:
    return "" if part["direction"] == "forward" else f" ({part['direction']})"


def read(document: str) -> dict[tuple[str, ...], list[str]]:
    """Returns the rows of a document's table by what names them."""
    _, _, table = document.partition(BEGIN)
    table, _, _ = table.partition(END)
    rows = {}
    for line in table.strip().splitlines()[2:]:  # below the header
        row = [cell.strip() for cell in line.strip().strip("|").split("|")]
        rows[tuple(row[:N_KEYS])] = row[N_KEYS:]
    return rows


def written(document: str, rows: Mapping[tuple[str, ...], list[str]]) -> str:
    """Returns the document with these rows in its table.

    Raises:
        ValueError: it has no place for a table.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no {BEGIN} and {END} in the document")
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    lines += [[*key, *row] for key, row in rows.items()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def plan(
    recipe: str, model: str, topology: str, settings: Sequence[str]
) -> dict | None:
    """Returns the figures of one training; None where it was refused, which is said."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plan.json"
        command = [
            *(sys.executable, "-m", "jaxsed.cli", "plan", f"--topology={topology}"),
            *(f"--config=configs/{recipe}.py:model={model}", "--json", str(out)),
        ]
        status = subprocess.run([*command, *settings], stdout=subprocess.DEVNULL)
        if status.returncode not in (0, DOES_NOT_FIT):
            return None
        return json.loads(out.read_text(encoding="utf-8"))


def main() -> int:
    """Command line entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--models", default=",".join(STARTS))
    parser.add_argument("--topologies", default=",".join(TOPOLOGIES))
    parser.add_argument("--out", type=Path, default=Path("docs/plan.md"))
    parser.add_argument("--again", action="store_true", help="plan rows that are there")
    args, settings = parser.parse_known_args()
    if wrong := [text for text in settings if not text.startswith("--config.")]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    named = " ".join(text.removeprefix("--config.") for text in settings)
    refused = 0
    for topology in args.topologies.split(","):
        for recipe in args.recipes.split(","):
            for model in args.models.split(","):
                key = (recipe, model, topology, named)
                if not args.again and key in read(args.out.read_text("utf-8")):
                    continue
                found = plan(recipe, model, topology, settings)
                if found is None:
                    refused += 1
                    continue
                add(args.out, key, cells(found))
                print(" | ".join([*key, *cells(found)]), flush=True)
    return 1 if refused else 0


def add(out: Path, key: tuple[str, ...], row: list[str]) -> None:
    """Puts a row into a document's table, in place of an older one of the same name."""
    document = out.read_text(encoding="utf-8")
    beside = out.with_name(out.name + ".tmp")
    beside.write_text(written(document, {**read(document), key: row}), encoding="utf-8")
    os.replace(beside, out)


if __name__ == "__main__":
    sys.exit(main())
