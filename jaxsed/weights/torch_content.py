"""What reading a checkpoint gives: plain containers, numpy arrays and placeholders."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from jaxsed.errors import InputError

# Checkpoints nest less than ten deep. Everything that walks through one may recurse.
MAX_DEPTH = 64
# A transformer has a few hundred arrays. Ten lists that each hold the next one ten times
# unfold to 10^10 values: those that `flatten` refuses.
MAX_VISITS = 200_000
# Of one path: those of checkpoints have less than 200 characters. Of all paths together,
# since a key that is in the file once may be a part of each.
MAX_PATH_LENGTH = 1_000
MAX_PATHS_LENGTH = 2**24
# Functions that no checkpoint has a use for.
_RUNS_CODE = re.compile(
    r"(os|posix|nt)\.(system|popen|exec\w+|spawn\w+|posix_spawn\w*|remove|unlink|rmdir)"
    r"|(builtins|__builtin__)\.(eval|exec|execfile|compile|__import__)"
    r"|(subprocess|runpy|pty)\..*"
)


class BrokenFileError(ValueError):
    """Why a file is no checkpoint; becomes an InputError where the path is known."""


class Placeholder:
    """Stands for an object of a class that is not ours: its description, inert.

    Nothing of what it stands for is imported, called or looked up.

    Attributes:
      module: Name of the module in the file, e.g. "omegaconf.dictconfig".
      name: Name in the module, e.g. "DictConfig".
      args: What it was to be made from; None for the bare class or function.
      state: What was to be its attributes, usually a dict; None if there was nothing.
      items: What was appended to it (a list) or set in it (a dict), if anything.
    """

    __slots__ = ("args", "items", "module", "name", "state")

    def __init__(self, module: str, name: str, args: Any = None):
        self.module = module
        self.name = name
        self.args = args
        self.state: Any = None
        self.items: list | dict | None = None

    @property
    def qualified_name(self) -> str:
        """`module.name`, at most 100 characters of it, in one line."""
        return f"{self.module}.{self.name}"[:100].encode("unicode_escape").decode()

    def __repr__(self) -> str:
        return f"<{self.qualified_name}, not loaded>"


def flatten(content: Any) -> dict[str, np.ndarray]:
    """Finds all arrays in nested containers.

    Args:
      content: Of `torch_file.read`, or a part of it. Placeholders are not looked into.

    Returns:
      The arrays by their path, steps joined by ".", e.g. "state_dict.head.weight".

    Raises:
      InputError: There are more of them than any checkpoint has, or two have one path.
    """
    found: dict[str, np.ndarray] = {}
    visits = length = 0

    def collect(value: Any, path: str) -> None:
        nonlocal visits, length
        visits, length = visits + 1, length + len(path)
        is_far = len(path) > MAX_PATH_LENGTH or length > MAX_PATHS_LENGTH
        if visits > MAX_VISITS or is_far:
            raise InputError(
                "no checkpoint: its containers hold each other so often that unfolding "
                "them would fill the memory"
            )
        if isinstance(value, np.ndarray):
            if path in found:
                raise InputError(f"two of its tensors are called {path[:200]!r}")
            found[path] = value
        for step, inner in _children(value):
            if isinstance(inner, (dict, list, tuple, np.ndarray)):
                collect(inner, f"{path}.{step}" if path else str(step))

    collect(content, "")
    return found


def runs_code(names: Iterable[str]) -> str | None:
    """Returns the first of the names in a pickle that no honest checkpoint asks for.

    Args:
      names: Of classes and functions, as in `torch_file.TorchFile.foreign`.
    """
    return next(filter(_RUNS_CODE.fullmatch, names), None)


def check_nesting(content: Any) -> list[Placeholder]:
    """Refuses containers that no recursion could walk through.

    A placeholder may hold itself (configurations know their parents); what is inside it
    counts anew from there.

    Returns:
      All placeholders in `content`, those in other placeholders included.

    Raises:
      BrokenFileError: A container holds itself, or nesting is deeper than `MAX_DEPTH`.
    """
    heights: dict[int, int] = {}
    placeholders: dict[int, Placeholder] = {}
    roots = [content]
    while roots:
        for placeholder in _placeholders_below(roots.pop(), heights):
            if id(placeholder) not in placeholders:
                placeholders[id(placeholder)] = placeholder
                roots += [placeholder.args, placeholder.state, placeholder.items]
    return list(placeholders.values())


def _placeholders_below(root: Any, heights: dict[int, int]) -> list[Placeholder]:
    """Measures nesting below `root`, every container once; -1 marks those under way."""
    found = []
    if isinstance(root, Placeholder):
        return [root]
    # (container, its children still to be visited), as recursion would have them.
    path: list[tuple[Any, Iterator]] = []

    def enter(value: Any) -> None:
        if isinstance(value, Placeholder):
            found.append(value)
        elif isinstance(value, (dict, list, tuple, set, frozenset)):
            height = heights.get(id(value))
            if height == -1:
                raise BrokenFileError("a container in it holds itself")
            if len(path) + (height or 0) >= MAX_DEPTH:
                raise BrokenFileError(f"containers nest deeper than {MAX_DEPTH}")
            if height is None:
                heights[id(value)] = -1
                path.append((value, _everything_in(value)))

    enter(root)
    while path:
        value, children = path[-1]
        try:
            child = next(children)
        except StopIteration:
            path.pop()
            inner = (heights.get(id(child), 0) for child in _everything_in(value))
            heights[id(value)] = 1 + max(inner, default=0)
        else:
            enter(child)
    return found


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from ((k, v) for k, v in value.items() if isinstance(k, (str, int)))
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)


def _everything_in(value: Any) -> Iterator:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    else:
        yield from value
