"""Arguments of `jaxsed prepare` for tables that people have written themselves."""

import argparse
from typing import Any


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments; each has the name of a field of the layout's options."""
    group = parser.add_argument_group(
        "the tables of LAYOUT clips, where the defaults will not do"
    )
    group.add_argument(
        "--table",
        dest="tables",
        type=_several,
        metavar="A,B",
        help="tables to read, relative to SRC (default: the .csv and .tsv in SRC, or in "
        "its meta, metadata or annotations)",
    )
    for what, example in (("file", "filename"), ("label", "label"), ("split", "split")):
        group.add_argument(
            f"--{what}-column",
            metavar="NAME",
            help=f"column of {what}s (default: {example} or what it is usually called)",
        )
    group.add_argument(
        "--label-separator",
        metavar="TEXT",
        help="what stands between the labels of a cell; `none`: a cell is one label "
        "(default: ; or | or a comma where the column is called labels, tags, ...)",
    )
    group.add_argument(
        "--labels",
        choices=("single", "multi"),
        help="whether a clip has one class of all, or several (default: several where a "
        "cell holds several)",
    )
    group.add_argument(
        "--eval-folds",
        type=_several,
        metavar="A,B",
        help="values of the column of splits that are for evaluation, where it has folds",
    )
    group.add_argument(
        "--eval-share",
        type=float,
        metavar="X",
        help="how many of the clips are for evaluation, chosen at random, where no table "
        "says which (default: 0.1)",
    )
    group.add_argument(
        "--validation-share",
        type=float,
        metavar="X",
        help="how many are for validation then (default: none)",
    )
    group.add_argument(
        "--seed", type=int, metavar="N", help="of that choice (default: 0)"
    )


def _several(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def options_of(args: argparse.Namespace, layout) -> dict[str, Any]:
    """Returns what to call a layout with: `options`, or nothing if it takes none.

    Raises:
      InputError: A value makes no sense, or the layout knows its tables itself.
    """
    import dataclasses

    from jaxsed.data.layouts.clip_columns import TableOptions
    from jaxsed.errors import InputError

    names = [field.name for field in dataclasses.fields(TableOptions)]
    given = {name: getattr(args, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    if hasattr(layout, "OPTIONS"):
        return {"options": layout.OPTIONS(**given)}
    if given:
        option = next(iter(given)).replace("_", "-").replace("tables", "table")
        raise InputError(
            f"--{option} is for layout clips; {layout.NAME} knows its own tables"
        )
    return {}
