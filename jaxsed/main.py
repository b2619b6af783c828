"""`python -m jaxsed.main --config=configs/student.py --workdir=DIR [--config.key=value]`.

Runs the stage that the config names. The same command again goes on where it was
stopped; a finished run is left alone. Several processes run one training together:
docs/clusters.md.

Exit status: 0 the run is finished; 1 refused, or nothing could be done; 2 wrong usage;
3 finished, but for some cells of a grid; 75 told to stop by SIGTERM, what was done is saved,
to be started again; 130 stopped by Ctrl-C.
"""

import functools
import itertools
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from jaxsed.errors import InputError, PartlyDone, check_known

CONFIG = config_flags.DEFINE_config_file("config", help_string="experiment to run")
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
MULTIHOST = flags.DEFINE_boolean(
    "multihost", False, "one of several processes (TPU pod, SLURM): join the others"
)
COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "HOST:PORT of process 0, where no cluster says; with these two:",
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "how many processes")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "which one this is, from 0")
flags.mark_flags_as_required(["config", "workdir"])
# The current folder would be meant: where a script's variable is not set, say.
flags.register_validator(
    "workdir", lambda path: path != "", message="expected a folder, this is empty"
)


def run_config(config: Mapping[str, Any], workdir: Path) -> None:
    """Runs one stage.

    Args:
        config: plain nested mapping; `config["stage"]` names the stage.
        workdir: folder of the run, made if missing.

    Raises:
        InputError: the stage does not exist, or something it is given is wrong.
    """
    import jax

    from jaxsed.stages import (
        chain,
        downstream,
        ensemble,
        grid,
        phases,
        pretrain,
        scenes,
        strong,
        summary,
        testing,
        weak,
    )
    from jaxsed.training import processes

    def on_first(stage):
        return lambda *arguments: processes.on_first(lambda: stage(*arguments))

    stages = {
        "scenes": on_first(scenes.run),
        "pretrain": pretrain.run,
        "weak": weak.run,
        "strong": strong.run,
        "downstream": downstream.run,
        "ensemble": ensemble.run,
        "test": testing.run,
        "summary": on_first(summary.run),
    }
    made_of_stages = {"chain": chain.run, "phases": phases.run, "grid": grid.run}
    for name, of_stages in made_of_stages.items():
        stages[name] = functools.partial(of_stages, stages=stages)
    check_known("stage", config["stage"], stages)
    # Teachers that differ in their seed, and a run that goes on, need no new compile.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = str((workdir / ".xla").resolve())
        jax.config.update("jax_compilation_cache_dir", folder)
    stages[config["stage"]](config, workdir)


def main(argv: Sequence[str]) -> int:
    """Entry point for absl; returns the exit status."""
    if len(argv) > 1:
        print(f"jaxsed: unknown arguments {argv[1:]}", file=sys.stderr)
        return 2
    # "unable to initialize backend tpu", on a laptop; and orbax's tracebacks of errors
    # that it raises as well, which end as one line below.
    logging.getLogger("jax").setLevel(logging.WARNING)
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    from jaxsed.training import preemption, processes

    several = False
    try:
        several = join_others()
        if not several:
            preemption.heed()
        run_config(CONFIG.value.to_dict(), Path(WORKDIR.value))
        return 0
    except preemption.Preempted as notice:
        print(f"jaxsed: {notice}", file=sys.stderr)
        return preemption.STATUS
    except preemption.Stopped:
        message = "stopped by SIGTERM; the same command goes on from here"
        status = preemption.STATUS
    except KeyboardInterrupt:
        message, status = "stopped; the same command goes on from here", 130
    except Exception as error:
        message, status = processes.explained(error), 1
        if isinstance(error, PartlyDone):  # on all processes
            several, status = False, 3
        if message is None:
            if not several:
                raise
            traceback.print_exc()
            message = "an error that its log shows"
    print(f"jaxsed: {message}", file=sys.stderr)
    if several:
        processes.abandon(message, status)
    return status


def join_others() -> bool:
    """Joins the other processes of the run, if the command line says there are any."""
    from jaxsed.training import processes

    place = (COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    if not MULTIHOST.value and place == (None, None, None):
        return False
    processes.join(*place)
    return True


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; a mistake in it ends the program with one line."""
    try:
        _check_config_file(argv)
        return flags.FLAGS(argv)
    except (AttributeError, KeyError) as error:
        # No such key; ml_collections names the nearest on a second line.
        text = str(error.args[0]).replace("\\n", " ")
        words = text.replace("\\", "").replace("'", "").split()
        line = f"the config has no key {' '.join(words)}"
    except (flags.Error, InputError, TypeError) as error:
        # What a config file raises arrives as the text of a traceback.
        line = str(error).strip().splitlines()[-1]
        line = line.removeprefix("jaxsed.errors.InputError: ")
    print(f"jaxsed: {line}", file=sys.stderr)
    sys.exit(1)


def _check_config_file(argv: Sequence[str]) -> None:
    """Refuses a missing config file before config_flags prints its traceback."""
    for argument, following in itertools.pairwise((*argv, "")):
        name, equals, value = argument.partition("=")
        path = (value if equals else following).split(":")[0]
        if name in ("--config", "-config") and not Path(path).is_file():
            raise InputError(f"no config file {path}: give e.g. configs/demo.py")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
