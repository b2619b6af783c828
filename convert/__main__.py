"""`python -m convert ...` is `jaxsed convert ...`."""

import sys

from jaxsed import cli

if __name__ == "__main__":
    sys.exit(cli.main(["convert", *sys.argv[1:]]))
