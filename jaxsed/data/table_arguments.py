"""Arguments of `jaxsed prepare` for labels that people have written themselves."""

import argparse
from typing import Any


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments; each has the name of a field of the layout's options."""
    group = parser.add_argument_group(
        "tables of your own (LAYOUT clips, own; shares and seed: sounds, too), where the "
        "defaults will not do"
    )
    group.add_argument(
        "--table",
        dest="tables",
        type=_several,
        metavar="A,B",
        help="tables to read, relative to SRC (default: the .csv and .tsv in SRC, or in "
        "its meta, metadata or annotations)",
    )
    examples = {"file": "filename", "label": "label", "split": "split"}
    examples |= {"onset": "onset", "offset": "offset"}
    for what, example in examples.items():
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
        "or name says which (default: 0.1)",
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

    group = parser.add_argument_group("labels of your own recordings (LAYOUT own)")
    group.add_argument(
        "--label-format",
        choices=("table", "audacity", "raven"),
        help="what the labels are in (default: a table, or else label files of Raven, or "
        "else of Audacity)",
    )
    group.add_argument(
        "--unlabelled",
        choices=("left_out", "nothing"),
        help="recordings that nothing is said of are left out, or nothing sounds in them "
        "(default: left_out)",
    )


def _several(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def options_of(args: argparse.Namespace, layout) -> dict[str, Any]:
    """Returns what to call a layout with: `options`, or nothing if it takes none.

    Raises:
      InputError: A value makes no sense, or the layout does not take the argument.
    """
    import dataclasses

    from jaxsed.data.layouts import clips, own, sounds
    from jaxsed.errors import InputError

    takers: dict[str, list[str]] = {}
    for each in (clips, own, sounds):
        for field in dataclasses.fields(each.OPTIONS):
            takers.setdefault(field.name, []).append(each.NAME)
    given = {name: getattr(args, name) for name in takers}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if layout.NAME not in takers[name]:
            option = name.replace("_", "-").replace("tables", "table")
            whose = " and ".join(takers[name])
            raise InputError(f"--{option} is for layout {whose}, not {layout.NAME}")
    return {"options": layout.OPTIONS(**given)} if hasattr(layout, "OPTIONS") else {}
