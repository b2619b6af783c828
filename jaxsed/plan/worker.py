"""The process in which `jaxsed plan` compiles: `python -m jaxsed.plan.worker ...`.

It reads config and settings as `jaxsed.main` does, and is started with the environment
that the topology needs.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from jaxsed import main as training
from jaxsed.errors import InputError

TOPOLOGY = flags.DEFINE_string("topology", None, "devices to compile for")
OUT = flags.DEFINE_string("out", None, "JSON file to write")
FRESH = flags.DEFINE_boolean("fresh", False, "compile what the cache holds, too")


def main(argv: Sequence[str]) -> int:
    """Entry point for absl; returns the exit status."""
    from jaxsed.plan import cache, chips, step

    del argv
    try:
        topology = chips.topology(TOPOLOGY.value)
        plans = {
            name: cache.planned(config, topology, FRESH.value)
            for name, config in step.trainings(training.CONFIG.value.to_dict()).items()
        }
    except InputError as error:
        print(f"jaxsed plan: {error}", file=sys.stderr)
        return 1
    Path(OUT.value).write_text(json.dumps(plans), encoding="utf-8")
    return 0


if __name__ == "__main__":
    app.run(main, flags_parser=training.parse_flags)
