"""The one error that is meant for the person at the keyboard."""


class InputError(ValueError):
    """Something the user gave is wrong; the message is all they need to mend it.

    The message names the offending value, what was expected and how to fix it.
    Command line entry points print it as one line, without a traceback, and exit
    with status 1.
    """
