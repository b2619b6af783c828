"""The one error that is meant for the person at the keyboard."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave is wrong; the message is all they need to mend it.

    The message names the offending value, what was expected and how to fix it.
    Command line entry points print it as one line, without a traceback, and exit
    with status 1.
    """


class PartlyDone(InputError):
    """All that could be done is done, but some of it could not: exit status 3."""


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Returns the most similar of `known`, ignoring case; None if nothing is close."""
    lowered = {text.lower(): text for text in known}
    near = difflib.get_close_matches(str(word).lower(), lowered, n=1, cutoff=cutoff)
    return lowered[near[0]] if near else None


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Refuses a name that is not one of `known`.

    Raises:
        InputError: names the nearest known one, and all of them.
    """
    known = tuple(known)
    if name in known:
        return
    guess = nearest(name, known)
    hint = f"did you mean {guess!r}? " if guess else ""
    raise InputError(f"unknown {what} {name!r}: {hint}Known: {', '.join(known)}")
