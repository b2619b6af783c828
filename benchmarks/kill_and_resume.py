"""Does a run that is killed again and again end with the bits of one never killed?

    python -m benchmarks.kill_and_resume --workdir=runs/kills [--kills 3] [--seed 0]

Runs `configs/debug.py` once undisturbed and once with `kill -9` at random moments, so
many in each stage, the same command again after each; then compares the parameters of
every model and the bytes of every store of logits. Exit status 1 if anything differs.

Cost: a few minutes on 2 cores.
"""

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxsed.training.logs import is_done

STARTUP_SECONDS = 4.0  # until a chain that goes on is in its unfinished stage
BEGUN = "config.json"  # of a stage, the first file there is
STAGES = ("scenes", "weak_atst_frame", "teacher_atst_frame", "ensemble", "student")


def command(workdir: Path, config: str, settings: Sequence[str] = ()) -> list[str]:
    """Returns the command that starts the chain, or goes on with it."""
    program = [sys.executable, "-m", "jaxsed.main", f"--config={config}"]
    return [*program, *settings, f"--workdir={workdir}"]


def fingerprint(workdir: Path) -> dict[str, str]:
    """Returns sha256 of every result that must not depend on kills."""
    patterns = ("*/model/params.safetensors", "*/logits/*.f16", "*/eval_logits/*.f16")
    files = sorted(file for pattern in patterns for file in workdir.glob(pattern))
    return {
        str(file.relative_to(workdir)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def is_finished(stage: Path) -> bool:
    """Whether a stage is complete; scenes log no metrics."""
    prepared = stage / "prepared" / "eval" / "manifest.json"
    return prepared.exists() or is_done(stage / "metrics.jsonl")


def seconds_of(stage: Path) -> float:
    """Returns how long a finished stage took, by its files."""
    begin = (stage / BEGUN).stat().st_mtime
    return max(file.stat().st_mtime for file in stage.iterdir()) - begin


def kill_in(
    stage: Path,
    seconds: float,
    start: Sequence[str],
    rng: random.Random,
    sign: str,
) -> str:
    """Starts the chain and kills it at a random moment of one stage.

    Args:
        stage: folder of the stage; not finished.
        seconds: how long the stage takes, from the sign on.
        start: the command.
        rng: of the moment.
        sign: file or folder in `stage` that is awaited first.

    Returns:
        What happened, in words; a stage that was quicker than the kill is not killed.
    """
    goes_on = (stage / BEGUN).exists()
    process = subprocess.Popen(
        start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    if goes_on:
        time.sleep(STARTUP_SECONDS)
    while not (stage / sign).exists() and process.poll() is None:
        time.sleep(0.02)
    wait = rng.uniform(0, seconds)
    time.sleep(wait)
    process.kill()
    process.wait()
    how = "going on" if goes_on else "from its start"
    late = ", which was finished by then" if is_finished(stage) else ""
    return f"{stage.name}: {how}, killed after {wait:.1f} s{late}"


def links(whole: Path) -> list[str]:
    """Returns the names of a chain's links in order."""
    return json.loads((whole / "config.json").read_text(encoding="utf-8"))["order"]


def undo(whole: Path, killed: Path, name: str) -> None:
    """Removes what a stage and those after it made, so that it can be killed again."""
    order = links(whole)
    for later in order[order.index(name) :]:
        shutil.rmtree(killed / later, ignore_errors=True)


def copy_before(whole: Path, killed: Path, name: str) -> None:
    """Gives the run to be killed what the other one made before a stage."""
    order = links(whole)
    for earlier in order[: order.index(name)]:
        shutil.copytree(whole / earlier, killed / earlier)
        config = killed / earlier / "config.json"
        if config.exists():  # it names the chain's folder
            own = config.read_text(encoding="utf-8").replace(str(whole), str(killed))
            config.write_text(own, encoding="utf-8")


def torture(
    workdir: Path,
    kills: int,
    seed: int,
    config: str = "configs/debug.py",
    stages: Sequence[str] = STAGES,
    settings: Sequence[str] = (),
    signs: Mapping[str, str] | None = None,
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Runs the chain undisturbed and killed.

    Args:
        workdir: gets `whole/` and `killed/`.
        kills: in each stage.
        seed: of the moments.
        config: a chain.
        stages: links to kill in, in order; those before them are not run again.
        settings: `--config.KEY=VALUE`, for both runs.
        signs: what a stage has in its folder when it is killed, at once; of stages that
            are not named here the moment is random.

    Returns:
        Fingerprints of both runs, and what was done, in words.
    """
    whole, killed = workdir / "whole", workdir / "killed"
    start = command(whole, config, settings)
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
    copy_before(whole, killed, stages[0])
    rng, notes = random.Random(seed), []
    start = command(killed, config, settings)
    for name in stages:
        sign = (signs or {}).get(name)
        seconds = 0.0 if sign else seconds_of(whole / name)
        for _ in range(kills):
            if is_finished(killed / name):
                undo(whole, killed, name)
            notes.append(kill_in(killed / name, seconds, start, rng, sign or BEGUN))
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
    return fingerprint(whole), fingerprint(killed), notes


def main() -> int:
    """Command line entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    whole, killed, notes = torture(args.workdir, args.kills, args.seed)
    print("\n".join(notes))
    for name, digest in whole.items():
        same = killed.get(name) == digest
        print(f"{'same bits' if same else 'DIFFERENT':>10}  {name}")
    return 0 if whole == killed and whole else 1


if __name__ == "__main__":
    sys.exit(main())
