"""What does a student pay for its teachers' logits, clip by clip?

    python -m benchmarks.ensemble [--clips 512] [--rounds 5] [--ids 2000000]

Writes a small store at full width (250 label frames, 447 classes, in shards of 128) to a
temporary folder and reads clips in random order, as training does, next to what the loader
does anyway: decoding 10 s of 32 kHz mp3 and resampling it to 16 kHz. The files are in the
system's cache by then. The original's way is beside it where h5py is installed: one
class-major HDF5 read by row and transposed. Times are of the CPU. Prints Markdown.

Cost: about a minute on a core, 200 MB of disk.
"""

import argparse
import io
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from jaxsed.audio.decode import load_mono
from jaxsed.data.clip_ids import ClipIds
from jaxsed.data.examples import sigmoid
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.data.teacher_writer import TeacherLogitsWriter
from jaxsed.labels import vocab

N_FRAMES, SHARD_CLIPS = 250, 128


def ids_of(n_clips: int) -> list[str]:
    """Returns ids as AudioSet Strong has them: video, start in ms."""
    return [f"{row:011d}_30000" for row in range(n_clips)]


def write_store(folder: Path, n_clips: int) -> np.ndarray:
    """Writes a store of one made-up teacher; returns its logits, float16."""
    vocabulary = vocab.load("audioset_strong_447")
    rng = np.random.default_rng(0)
    shape = (n_clips, N_FRAMES, len(vocabulary))
    logits = rng.normal(-6, 2, shape).astype(np.float16)
    with TeacherLogitsWriter(
        folder,
        ids_of(n_clips),
        N_FRAMES,
        vocabulary,
        {"made up": ""},
        shard_clips=SHARD_CLIPS,
    ) as writer:
        for number in writer.pending():
            with writer.open_shard(number) as shard:
                shard.begin(1)
                shard.write(logits[shard.rows])
                shard.end()
    return logits


def write_hdf5(file: Path, logits: np.ndarray) -> bool:
    """Writes the same logits in the published layout; False without h5py."""
    try:
        import h5py
    except ImportError:
        return False
    with h5py.File(file, "w") as opened:
        names = ids_of(len(logits))
        opened["filenames"] = [name.encode() for name in names]
        opened["strong_logits"] = logits.transpose(0, 2, 1)
    return True


def mp3_clip() -> bytes:
    """Returns 10 s of noise and tones, 32 kHz mono mp3."""
    rng = np.random.default_rng(0)
    seconds = np.arange(320_000) / 32_000
    wave = 0.1 * np.sin(2 * np.pi * 440 * seconds) + 0.02 * rng.standard_normal(320_000)
    file = io.BytesIO()
    soundfile.write(file, wave, 32_000, format="MP3")
    return file.getvalue()


def microseconds(
    ways: dict[str, Callable[[str], object]], ids: Sequence[str], rounds: int
) -> dict[str, float]:
    """Returns CPU time a clip each way: the best of rounds, taken in turns."""
    best = dict.fromkeys(ways, float("inf"))
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        order = [ids[row] for row in rng.permutation(len(ids))]
        for name, way in ways.items():
            begin = time.process_time()
            for clip_id in order:
                way(clip_id)
            best[name] = min(best[name], (time.process_time() - begin) / len(order))
    return {name: 1e6 * seconds for name, seconds in best.items()}


def reading(folder: Path, n_clips: int, rounds: int) -> dict[str, float]:
    """Returns microseconds a clip for each part of reading, and for decoding beside it."""
    logits = write_store(folder / "store", n_clips)
    store, sound = TeacherLogits(folder / "store"), mp3_clip()
    ways = {
        "`TeacherLogits.get`": store.get,
        "`get`, to probabilities": lambda clip_id: sigmoid(store.get(clip_id)),
    }
    if write_hdf5(folder / "published.hdf5", logits):
        published = TeacherLogits(folder / "published.hdf5")
        ways["`get` from the HDF5 layout"] = published.get
    found = microseconds(ways, ids_of(n_clips), rounds)
    decode = {"mp3 of 10 s to 16 kHz": lambda _: load_mono(sound, 16_000)}
    return found | microseconds(decode, range(16), rounds)


def finding(n_ids: int) -> dict[str, float]:
    """Returns what an index of many ids takes."""
    begin = time.process_time()
    ClipIds(f"{row:011d}_30000" for row in range(n_ids))
    seconds = time.process_time() - begin
    tracemalloc.start()
    ids = ClipIds(f"{row:011d}_30000" for row in range(n_ids))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    asked = [f"{row:011d}_30000" for row in range(0, n_ids, max(1, n_ids // 20_000))]
    ways = {"exact": ids.find, "respelled": lambda name: ids.find(f"Y{name}.mp3")}
    times = microseconds(ways, asked, 3)
    return {
        "seconds to make": seconds,
        "MB kept": kept / 1e6,
        "MB at most": peak / 1e6,
        "us to find, spelled alike": times["exact"],
        "us to find, respelled": times["respelled"],
    }


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ids", type=int, default=2_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = reading(Path(folder), args.clips, args.rounds)
    decoding = times["mp3 of 10 s to 16 kHz"]
    print("| a clip | CPU us | of decoding |\n|---|---|---|")
    for name, time_us in times.items():
        print(f"| {name} | {time_us:.0f} | {time_us / decoding:.1%} |")
    print(f"\n| {args.ids:,} ids | |\n|---|---|")
    for name, value in finding(args.ids).items():
        print(f"| {name} | {value:.1f} |")


if __name__ == "__main__":
    main()
