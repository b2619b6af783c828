"""Memory and time of `jaxsed prepare` at the size of AudioSet, decoding left out.

    python -m benchmarks.prepare_listing [--clips 2000000] [--folder DIR]

Makes tables of as many clips as asked for, with as many labels as AudioSet has on
average, and as many empty files; reads them by the layout `audioset_weak`; then runs
`prepare`, with shards that hold nothing and journals as if all sounds had been decoded.
Prints seconds and the peak of resident memory after each phase.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from jaxsed.data import prepare as prepare_module
from jaxsed.data import shards
from jaxsed.data.layouts import audioset_weak
from jaxsed.data.problems import clean_events
from jaxsed.data.records import PreparedData
from jaxsed.labels import vocab

LABELS_A_CLIP = (1, 5)  # 2.7 on average in the released tables
FILES_A_FOLDER = 50_000
ALPHABET = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"))


def write_source(root: Path, n_clips: int) -> None:
    """Writes a table and an empty file for every clip."""
    rng = np.random.default_rng(0)
    mids = np.array(vocab.load(audioset_weak.VOCABULARY).mids)
    root.mkdir(parents=True)
    with open(root / "unbalanced_train_segments.csv", "w", encoding="utf-8") as table:
        for start in range(0, n_clips, FILES_A_FOLDER):
            folder = root / f"part{start // FILES_A_FOLDER:02d}"
            folder.mkdir()
            for k in range(start, min(start + FILES_A_FOLDER, n_clips)):
                video = f"{''.join(rng.choice(ALPHABET, 4))}{k:07d}"
                labels = ",".join(rng.choice(mids, rng.integers(*LABELS_A_CLIP)))
                table.write(f'{video}, 30.000, 40.000, "{labels}"\n')
                (folder / f"Y{video}.mp3").touch()


def pretend(task: shards.ShardTask) -> shards.Written:
    """Writes the journal of a shard as `write_shard` does, without any sound."""
    entries = []
    for clip in task.clips:
        events, _ = clean_events(clip.id, clip.events, task.vocabulary, 10.0)
        entries.append(
            {"id": clip.id, "events": events, "duration": 10.0, "sha256": "ab" * 32}
        )
    task.path.write_bytes(b"")
    fingerprint = shards._fingerprint(task)
    journal = {"fingerprint": fingerprint, "bytes": 0, "clips": entries, "problems": []}
    shards.journal_path(task.path).write_text(json.dumps(journal))
    return shards.Written(task.path, True)


def measure(what: str, run):
    """Runs a phase and prints what it took."""
    began = time.perf_counter()
    result = run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = time.perf_counter() - began
    print(f"{what:<48} {seconds:7.1f} s   peak {peak:5.2f} GiB", flush=True)
    return result


def main() -> None:
    """Runs all phases in a folder that is removed at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--clips", type=int, default=2_000_000)
    parser.add_argument("--folder", type=Path, help="where to write meanwhile")
    args = parser.parse_args()
    prepare_module.write_shard = pretend
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        root, out = Path(folder, "source"), Path(folder, "out")
        measure("(making the data set)", lambda: write_source(root, args.clips))
        split = measure(
            "reading tables, finding files",
            lambda: audioset_weak.read(root, "train"),
        )
        measure(
            "prepare, journals as if decoded, and publish",
            lambda: prepare_module.prepare(split, out),
        )
        measure(
            "prepare again: checks every file, and publish",
            lambda: prepare_module.prepare(split, out),
        )
        data = measure("opening the result", lambda: PreparedData(out))
        print(f"{len(data):,} clips")


if __name__ == "__main__":
    main()
