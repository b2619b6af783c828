"""Races the evaluation at AudioSet Strong's size against the reference's way of doing it.

  python -m benchmarks.evaluation [--clips 16996] [--classes 407] [--reference-classes 6]

Makes a store of float16 logits (3.5 GB, in a temporary folder) with sparse events and
detections of all qualities. Ours evaluates all of it. The reference's way, which is
PretrainedSED's (helpers/decode.py, ex_audioset_strong.py), evaluates all clips of a few
classes: scipy's median filter clip by clip, float64 DataFrames, sed_scores_eval. Its
time is measured for half of these classes and for all, and the line through both is
extended to all classes of the store. Each runs in a process of its own. The results of
the classes that both have evaluated are compared.

Expected: ours at least ten times as fast, under 2 GB, and the same numbers to 1e-9.
"""

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.side_by_side import peak_mib
from jaxsed.evaluation import evaluator
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.events import FRAME_SECONDS, Event, merge_overlapping
from jaxsed.labels.vocab import Vocabulary

N_CLIPS, N_CLASSES = 16_996, 407  # AudioSet Strong's evaluation set
CLIP_SECONDS, N_FRAMES = 10.0, 250
EVENTS_A_CLIP = 8.2  # of AudioSet Strong
MEDIAN_FRAMES = 12
_CLIPS_A_BLOCK = 64


def make_events(rng: np.random.Generator, n_clips: int, n_classes: int) -> np.ndarray:
    """Draws events: few classes are common, most are rare, as in AudioSet.

    Returns:
        float64 `[e, 4]`: clip, class, onset and offset in whole milliseconds.
    """
    clip = np.repeat(np.arange(n_clips), rng.poisson(EVENTS_A_CLIP, n_clips))
    weight = 1 / np.arange(1, n_classes + 1) ** 0.9
    label = rng.choice(n_classes, len(clip), p=weight / weight.sum())
    label[: min(n_classes, len(label))] = np.arange(n_classes)[: len(label)]
    onset = rng.uniform(0, CLIP_SECONDS - 0.1, len(clip)).round(3)
    offset = onset + rng.lognormal(0, 1, len(clip)).clip(0.1).round(3)
    return np.stack([clip, label, onset, offset.clip(max=CLIP_SECONDS)], axis=1)


def make_store(folder: Path, n_clips: int, n_classes: int) -> None:
    """Writes a store, and the events beside it (`events.npy`).

    A logit is the level of its class, a slow and a fast noise, and at most of the events
    a rise of some height that starts and ends nearly where the event does.
    """
    rng = np.random.default_rng(0)
    events = make_events(rng, n_clips, n_classes)
    np.save(folder / "events.npy", events)
    names = tuple(f"class {c}" for c in range(n_classes))
    store = ScoreStore.create(
        folder / "scores",
        [f"clip{i:06d}" for i in range(n_clips)],
        Vocabulary("benchmark", names),
        durations=np.full(n_clips, CLIP_SECONDS),
    )
    slow = rng.standard_normal((4096, N_FRAMES + 24), np.float32).cumsum(axis=1)
    noise = slow[:, 24:] - slow[:, :-24]
    noise = noise * 0.2 + rng.standard_normal(noise.shape, np.float32) * 0.15
    level = rng.normal(-7, 1.5, n_classes).astype(np.float32)
    first = np.searchsorted(events[:, 0], np.arange(n_clips + 1))
    for start in range(0, n_clips, _CLIPS_A_BLOCK):
        clips = np.arange(start, min(start + _CLIPS_A_BLOCK, n_clips))
        size = len(clips), n_classes
        logits = noise[rng.integers(len(noise), size=size)]
        shift = level + rng.standard_normal(size, np.float32)
        logits += shift[..., None]
        for clip, label, onset, offset in events[first[start] : first[clips[-1] + 1]]:
            around = (
                np.array([onset, offset]) + rng.normal(0, 0.08, 2)
            ) / FRAME_SECONDS
            begin, end = around.round().astype(int).clip(0, N_FRAMES)
            logits[int(clip) - start, int(label), begin:end] += rng.normal(6, 4)
        store.write(clips, logits.transpose(0, 2, 1))


def events_of(folder: Path, clip_ids: list[str]) -> dict[str, list[Event]]:
    """Reads the events of `make_store`."""
    events: dict[str, list[Event]] = {clip_id: [] for clip_id in clip_ids}
    for clip, label, onset, offset in np.load(folder / "events.npy").tolist():
        events[clip_ids[int(clip)]].append(Event(onset, offset, int(label)))
    return events


def ours(folder: Path) -> dict:
    """Evaluates the whole store; returns times, memory and results."""
    store = ScoreStore(folder / "scores")
    events = events_of(folder, store.ids)
    start, cpu = time.perf_counter(), time.process_time()
    result = evaluator.evaluate(store, events, store.vocabulary, progress=False)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    classes = {
        int(row["class"].split()[1]): [row["psds1"], row["pauroc"]]
        for row in result.per_class
    }
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mib": peak_mib(),
        "summary": result.summary,
        "classes": classes,
    }


@functools.cache
def writable_frame():
    """A DataFrame whose `to_numpy` copies: sed_scores_eval 0.0.4 writes into what it
    is given, and pandas 3 hands out read-only arrays."""
    import pandas as pd

    class Frame(pd.DataFrame):
        @property
        def _constructor(self):
            return Frame

        def to_numpy(self, *args, **kwargs):
            return np.array(super().to_numpy(*args, **kwargs))

    return Frame


def reference(folder: Path, labels: list[int]) -> dict:
    """Evaluates some classes as PretrainedSED does; returns times and results."""
    import sed_scores_eval
    from scipy import ndimage

    store = ScoreStore(folder / "scores")
    keys = {label: f"k{label}" for label in labels}
    truth = {
        clip_id: [
            (event.onset, event.offset, keys[event.label])
            for event in merge_overlapping(of_clip)
            if event.label in keys
        ]
        for clip_id, of_clip in events_of(folder, store.ids).items()
        if of_clip
    }
    durations = dict.fromkeys(truth, CLIP_SECONDS)
    times = np.round(np.arange(N_FRAMES + 1) * FRAME_SECONDS, 6)
    rows = [store.row(clip_id) for clip_id in truth]
    start, cpu = time.perf_counter(), time.process_time()
    frames = {}
    for clips, of_classes in store.blocks(rows, labels):
        of_clips = np.stack(of_classes, axis=1).reshape(len(clips), N_FRAMES, -1)
        for clip, scores in zip(clips, of_clips, strict=True):
            scores = ndimage.median_filter(scores.astype("f4"), (MEDIAN_FRAMES, 1))
            table = np.column_stack([times[:-1], times[1:], scores])
            frame = writable_frame()(table, columns=["onset", "offset", *keys.values()])
            frames[store.ids[rows[clip]]] = frame
    filtered = time.perf_counter()
    _, psds, *_ = sed_scores_eval.intersection_based.psds(
        frames,
        truth,
        durations,
        dtc_threshold=0.7,
        gtc_threshold=0.7,
        alpha_st=1,
        max_efpr=100,
    )
    detected = time.perf_counter()
    pauroc, _ = sed_scores_eval.segment_based.auroc(
        frames, truth, durations, segment_length=1.0, max_fpr=0.1
    )
    end = time.perf_counter()
    return {
        "seconds": end - start,
        "cpu_seconds": time.process_time() - cpu,
        "parts": [filtered - start, detected - filtered, end - detected],
        "peak_mib": peak_mib(),
        "classes": {label: [psds[key], pauroc[key]] for label, key in keys.items()},
    }


def _in_a_process(folder: Path, *labels: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.evaluation", f"--worker={folder}"]
    command += [f"--labels={','.join(map(str, labels))}"] if labels else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def race(folder: Path, n_reference: int) -> str:
    """Runs both on the store in `folder` and says how they compare."""
    found = _in_a_process(folder)
    scored = sorted(map(int, found["classes"]))
    # From the most common class to the rarest.
    chosen = np.linspace(0, len(scored) - 1, max(2, min(n_reference, len(scored))))
    chosen = sorted({scored[int(place)] for place in chosen})
    few = _in_a_process(folder, *chosen[::2])
    more = _in_a_process(folder, *chosen)
    n_few, n_more = len(few["classes"]), len(more["classes"])

    def whole(what: str) -> float:
        a_class = (more[what] - few[what]) / max(n_more - n_few, 1)
        return more[what] + a_class * (len(scored) - n_more)

    difference = max(
        np.abs(np.subtract(values, found["classes"][label])).max()
        for label, values in more["classes"].items()
    )
    summary = found["summary"]
    parts = " + ".join(f"{seconds:.1f}" for seconds in more["parts"])
    return "\n".join(
        [
            f"{summary['clips']} clips, {len(scored)} classes, {summary['events']} "
            f"events: PSDS1 {summary['psds1']:.4f}, without penalty "
            f"{summary['psds1_macro']:.4f}, pAUROC {summary['pauroc']:.4f}",
            f"ours: {found['seconds']:.1f} s ({found['cpu_seconds']:.1f} s of CPU), "
            f"peak {found['peak_mib']:.0f} MiB",
            f"reference: {few['seconds']:.1f} s for {n_few} classes, "
            f"{more['seconds']:.1f} s for {n_more} (median filter and frames, PSDS, "
            f"pAUROC: {parts}), peak {more['peak_mib']:.0f} MiB",
            f"  extended to {len(scored)} classes: {whole('seconds'):.0f} s "
            f"({whole('cpu_seconds'):.0f} s of CPU)",
            f"ratio: {whole('seconds') / found['seconds']:.0f} "
            f"({whole('cpu_seconds') / found['cpu_seconds']:.0f} of CPU)",
            f"largest difference in the results of these classes: {difference:.1e}",
        ]
    )


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=N_CLIPS)
    parser.add_argument("--classes", type=int, default=N_CLASSES)
    parser.add_argument("--reference-classes", type=int, default=6)
    parser.add_argument("--folder", help="where to make the temporary folder")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--labels", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        labels = [int(label) for label in args.labels.split(",")] if args.labels else []
        done = reference(args.worker, labels) if labels else ours(args.worker)
        print(json.dumps(done))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        make_store(folder, args.clips, args.classes)
        print(race(folder, args.reference_classes))


if __name__ == "__main__":
    main()
