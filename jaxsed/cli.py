"""`jaxsed COMMAND ...`: the commands that need no training config.

Exit status of every command: 0 all went well; 1 refused, or nothing could be done;
2 wrong usage; 3 finished, but some of the input was wrong (listed on the way out).
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence

from jaxsed.data import prepare_command
from jaxsed.errors import InputError, nearest
from jaxsed.inference import detect_command
from jaxsed.plan import cost_command, plan_command
from jaxsed.scoring import evaluate_command, tune_command
from jaxsed.tables import table_command
from jaxsed.weights import convert_command, weights_command

# Each module offers `configure(parser)` and `run(args) -> exit status`, and imports
# whatever is slow to import inside `run`, so that `jaxsed --help` is immediate.
COMMANDS = {
    "detect": detect_command,
    "prepare": prepare_command,
    "evaluate": evaluate_command,
    "tune": tune_command,
    "table": table_command,
    "plan": plan_command,
    "cost": cost_command,
    "convert": convert_command,
    "weights": weights_command,
}


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser with one sub-parser a command."""
    parser = argparse.ArgumentParser(prog="jaxsed", description="Sound event detection")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = module.__doc__.strip().splitlines()[0]
        sub = commands.add_parser(name, help=summary, description=module.__doc__)
        sub.formatter_class = argparse.RawDescriptionHelpFormatter
        module.configure(sub)
        sub.set_defaults(parser=sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    parser = build_parser()
    args, others = parser.parse_known_args(argv)
    # `others` of a command's defaults says that it reads what no parser can list.
    if others and not hasattr(args, "others"):
        args.parser.error(_unrecognized(args.parser, others))
    args.others = others
    for stream in (sys.stdout, sys.stderr):
        # A file's name may have characters that the terminal, or Windows' encoding of a
        # file, has not.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = COMMANDS[args.command].run(args)
        sys.stdout.flush()
        return status
    except InputError as error:
        print(f"jaxsed {args.command}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print(f"jaxsed {args.command}: stopped; run it again to go on", file=sys.stderr)
        return 130


def _unrecognized(parser: argparse.ArgumentParser, others: Sequence[str]) -> str:
    options = re.findall(r"--[\w-]+", parser.format_usage())
    words = [word.partition("=")[0] for word in others if word.startswith("--")]
    guesses = filter(None, (nearest(word, options, cutoff=0.7) for word in words))
    hint = "".join(f"; did you mean {guess}?" for guess in guesses)
    return f"unrecognized arguments: {' '.join(others)}{hint}"


if __name__ == "__main__":
    sys.exit(main())
