"""The paper's step 3 at AudioSet Strong's size, made of short clips and a tiny model.

    python -m benchmarks.rehearsal [--workdir runs/rehearsal] [--train 100000]
        [--eval 16935] [--clip_seconds 1]

Writes short flac clips with AudioSet's 447 training and 416 evaluation classes (few of
them common, as in AudioSet), and runs the recipes' own commands on them, each in a
process of its own: `jaxsed prepare`, two teachers for an epoch, their ensemble, a student
for an epoch, each with an evaluation of all clips. Prints wall time and peak memory (the
process and its children) of each, as Markdown. What was finished is not done again.

The scores mean nothing: clips are a second long, noise with bursts.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

from jaxsed.labels import vocab

SAMPLE_RATE = 16_000
CLASSES = {"train": "audioset_strong_447", "eval": "audioset_strong_eval_416"}
EVENTS_A_CLIP = 9  # AudioSet Strong has 934,821 events in 103,463 training clips
POLL_SECONDS = 1.0  # reading the memory of gigabytes costs milliseconds
SPREAD = 1.1  # exponent of the classes' frequencies


def write_clips(folder: Path, split: str, first: int, stop: int, seconds: float) -> str:
    """Writes clips `first` to `stop` of a split; returns their lines of the table."""
    vocabulary = vocab.load(CLASSES[split])
    frequency = np.arange(1, len(vocabulary) + 1) ** -SPREAD
    frequency /= frequency.sum()
    lines = []
    for index in range(first, stop):
        rng = np.random.default_rng([index, split == "eval"])
        segment = f"{split[0]}{index:010d}_0"
        wave = 0.01 * rng.standard_normal(round(seconds * SAMPLE_RATE))
        # Every class comes once, whatever its frequency.
        labels = rng.choice(
            len(vocabulary), 1 + rng.poisson(EVENTS_A_CLIP), p=frequency
        )
        labels[0] = index % len(vocabulary)
        for label in labels:
            onset, offset = np.sort(rng.uniform(0, seconds, 2))
            offset = min(seconds, max(offset, onset + 0.05))
            burst = slice(round(onset * SAMPLE_RATE), round(offset * SAMPLE_RATE))
            tone_hz = 100 + 15 * label
            time_seconds = np.arange(burst.stop - burst.start) / SAMPLE_RATE
            wave[burst] += 0.05 * np.sin(2 * np.pi * tone_hz * time_seconds)
            mid = vocabulary.mids[label]
            lines.append(f"{segment}\t{onset:.3f}\t{offset:.3f}\t{mid}\n")
        soundfile.write(folder / f"{segment}.flac", wave, SAMPLE_RATE)
    return "".join(lines)


def write_dataset(out: Path, clips: dict[str, int], seconds: float) -> None:
    """Writes both splits in the layout of AudioSet Strong; the tables come last."""
    names = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for split, n_clips in clips.items():
            vocabulary = vocab.load(CLASSES[split])
            names |= dict(zip(vocabulary.mids, vocabulary.names, strict=True))
            folder = out / "audio" / split
            folder.mkdir(parents=True, exist_ok=True)
            firsts = range(0, n_clips, 1000)
            parts = [
                pool.submit(
                    write_clips, folder, split, k, min(k + 1000, n_clips), seconds
                )
                for k in firsts
            ]
            ids = [f"{split[0]}{index:010d}_0" for index in range(n_clips)]
            durations = "".join(f"{name}.flac\t{seconds:g}\n" for name in ids)
            (out / f"audioset_{split}_durations.tsv").write_text(
                "filename\tduration\n" + durations
            )
            table = "".join(part.result() for part in parts)
            (out / f"audioset_{split}_strong.tsv").write_text(
                "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n" + table
            )
    (out / "mid_to_display_name.tsv").write_text(
        "".join(f"{mid}\t{name}\n" for mid, name in names.items())
    )


def memory_mib(pid: int) -> float:
    """Returns the resident memory of a process and all below it, shared parts once."""
    total = 0.0
    for found in [pid, *_descendants(pid)]:
        try:
            for line in Path(f"/proc/{found}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
        except OSError:
            continue  # it has ended
    return total


def _descendants(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = [int(child) for child in children.read_text().split()]
        except OSError:
            continue
        found += below + [deeper for child in below for deeper in _descendants(child)]
    return found


def measured(command: list[str], log: Path) -> tuple[float, float]:
    """Runs a command; returns its wall time in seconds and its peak memory in MiB.

    File pages mapped into memory count too, so this is an upper bound.
    """
    start, peak = time.perf_counter(), 0.0
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, stdout=file, env=environment)
        ended = threading.Event()

        def watch():
            nonlocal peak
            while not ended.wait(POLL_SECONDS):
                peak = max(peak, memory_mib(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        ended.set()
        watcher.join()
    if status not in (0, 3):
        sys.exit(f"{' '.join(command)} ended with status {status}; see {log}")
    return time.perf_counter() - start, peak


def commands(workdir: Path, train_clips: int, clip_seconds: float) -> dict[str, list]:
    """Returns the commands in order: the recipes', made small."""
    data, runs = workdir / "prepared", workdir / "runs"
    main = [sys.executable, "-m", "jaxsed.main"]
    model, steps = "tiny_atst_frame", max(1, train_clips // 256)
    small = [
        f"--config.steps={steps}",
        f"--config.every.evaluate={steps}",
        f"--config.data.clip_seconds={clip_seconds}",
        "--config.data.workers=2",
        "--config.optim.warmup_steps=20",
        "--config.optim.max_lr=1e-3",
    ]
    prepare = [sys.executable, "-m", "jaxsed.cli", "prepare", "audioset_strong"]
    run = {"prepare": [*prepare, str(workdir / "source"), "--out", str(data)]}
    for seed in (0, 1):
        name = f"teacher_{model}_{seed}"
        recipe = f"configs/teacher.py:model={model},seed={seed},data={data}"
        width = "--config.model.sequence_width=64"
        run[name] = [*main, f"--config={recipe}", f"--workdir={runs / name}"]
        run[name] += [*small, width]
    recipe = f"configs/ensemble.py:runs={runs},models={model},seeds=0+1,data={data}"
    run["ensemble"] = [*main, f"--config={recipe}", f"--workdir={runs / 'ensemble'}"]
    run["ensemble"] += small[2:4]
    logits = runs / "ensemble" / "logits"
    recipe = f"configs/student.py:model={model},data={data},logits={logits}"
    run["student"] = [*main, f"--config={recipe}", f"--workdir={runs / 'student'}"]
    run["student"] += small
    return run


def main() -> None:
    """Runs everything and prints the table as it grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/rehearsal"))
    parser.add_argument("--train", type=int, default=100_000)
    parser.add_argument("--eval", type=int, default=16_935)
    parser.add_argument("--clip_seconds", type=float, default=1.0)
    args = parser.parse_args()
    args.workdir.mkdir(parents=True, exist_ok=True)
    source = args.workdir / "source"
    if not (source / "mid_to_display_name.tsv").exists():
        clips = {"train": args.train, "eval": args.eval}
        write_dataset(source, clips, args.clip_seconds)
    print("| what | wall time | peak memory |\n|---|---|---|", flush=True)
    rows = args.workdir / "rows.json"
    known = json.loads(rows.read_text()) if rows.exists() else {}
    for name, command in commands(args.workdir, args.train, args.clip_seconds).items():
        if name not in known:
            # Half a run would take half the time.
            shutil.rmtree(args.workdir / "runs" / name, ignore_errors=True)
            known[name] = measured(command, args.workdir / f"{name}.log")
            rows.write_text(json.dumps(known))
        seconds, mib = known[name]
        print(f"| {name} | {seconds:.0f} s | {mib:.0f} MiB |", flush=True)


if __name__ == "__main__":
    main()
