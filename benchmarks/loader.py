"""How fast the loader reads, labels and batches clips, and what an index of millions costs.

    python -m benchmarks.loader [--clips 64] [--workers 0,1,2] [--index-clips 2000000]

The first table, clips a second, is of 10 s clips (32 kHz sources, opus 48 kHz, and flac stored at 16 kHz),
read from prepared shards, resampled to 16 kHz, with labels of 447 classes for 250 frames
and a teacher's probabilities. `plain` is the same work as one would write it at first, a
clip at a time in one thread: decode whole, average channels, resample, mark labels, take
the sigmoid in float32, stack. (What the released code does a clip needs torch and a
compiled mp3 decoder; it resamples with another filter.) Plain and loader take turns.
Rates `a core` count the time of the core alone, whatever else the machine does; the
loader's, with the most workers, includes handing batches to the training process.

The second part writes an index and opens it in a process of its own.
"""

import argparse
import io
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from jaxsed.data import records
from jaxsed.data.pipelines import training_batches
from jaxsed.data.records import PreparedData
from jaxsed.data.sampling import SAMPLINGS, ExampleOrder, importance_weights
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.data.teacher_writer import TeacherLogitsWriter
from jaxsed.labels import vocab
from jaxsed.labels.vocab import Vocabulary

CLIP_SECONDS, SAMPLE_RATE, N_FRAMES = 10.0, 16_000, 250
FORMATS = {
    "wav": (32_000, {"format": "WAV"}),
    "flac": (32_000, {"format": "FLAC"}),
    "mp3": (32_000, {"format": "MP3"}),
    "opus": (48_000, {"format": "OGG", "subtype": "OPUS"}),
    "flac, 16 kHz": (16_000, {"format": "FLAC"}),
}


def sound(seed: int, rate: int, seconds: float = CLIP_SECONDS) -> np.ndarray:
    """Returns noise that falls off with frequency, as most sounds do; float32 `[n]`."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    spectrum = rng.normal(size=n // 2 + 1) + 1j * rng.normal(size=n // 2 + 1)
    spectrum /= 1 + np.arange(len(spectrum)) / (50 * seconds)
    wave = np.fft.irfft(spectrum, n)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def random_clips(n_clips: int, n_classes: int, seed: int = 0) -> Iterator[dict]:
    """Yields the index's rows: two labels a clip, every hundredth one has twenty."""
    rng = np.random.default_rng(seed)
    for i in range(n_clips):
        n_events = 20 if i % 100 == 0 else 2
        labels = rng.integers(0, n_classes, n_events).tolist()
        onsets = np.sort(rng.random(n_events) * 9).round(3).tolist()
        yield {
            "id": f"Y{i:011d}_30000",
            "duration": CLIP_SECONDS,
            "events": [[onset, onset + 1, c] for onset, c in zip(onsets, labels)],
        }


def write_folder(
    folder: Path, audio: list[bytes], n_clips: int, vocabulary: Vocabulary
) -> None:
    """Writes a prepared folder; clip i has the sound `audio[i % len(audio)]`."""
    from array_record.python import array_record_module

    shard = folder / records.SHARDS / "00000-of-00001.array_record"
    shard.parent.mkdir(parents=True)
    options = records.WRITER_OPTIONS
    writer = array_record_module.ArrayRecordWriter(str(shard), options)
    if audio:
        for clip in random_clips(n_clips, len(vocabulary)):
            content = audio[writer_row(clip) % len(audio)]
            writer.write(records.pack_record({"id": clip["id"]}, content))
    writer.close()
    clips = random_clips(n_clips, len(vocabulary))
    records.write_index(folder, clips, (0 for _ in range(n_clips)), range(n_clips))
    manifest = {
        "format": records.FORMAT_VERSION,
        "content_hash": f"{n_clips} clips",
        "clips": n_clips,
        "shards": [{"file": shard.name, "bytes": shard.stat().st_size}],
        "vocabulary": vocabulary.to_json(),
    }
    (folder / records.MANIFEST).write_text(json.dumps(manifest))


def writer_row(clip: dict) -> int:
    """Returns the row that an id of `random_clips` names."""
    return int(clip["id"][1:12])


def write_teacher(folder: Path, data: PreparedData) -> TeacherLogits:
    """Writes random logits for every clip."""
    rng = np.random.default_rng(0)
    teachers = {"teacher": "0" * 64}
    with TeacherLogitsWriter(
        folder, data.ids, N_FRAMES, data.vocabulary, teachers
    ) as writer:
        for number in writer.pending():
            with writer.open_shard(number) as shard:
                shard.begin(1)
                for _ in shard.rows:
                    logits = rng.normal(-4, 2, (1, *shard.clip_shape))
                    shard.write(logits.astype(np.float16))
                shard.end()
    return TeacherLogits(folder)


def plain_batch(data: PreparedData, teacher: TeacherLogits, rows: np.ndarray) -> dict:
    """Returns a batch computed as one would write it at first."""
    n_samples = round(CLIP_SECONDS * SAMPLE_RATE)
    batch: dict[str, list] = {"audio": [], "labels": [], "teacher": []}
    for row in rows.tolist():
        content = io.BytesIO(data.audio_bytes(row))
        wave, rate = soundfile.read(content, dtype="float32", always_2d=True)
        wave = soxr.resample(wave.mean(axis=1), rate, SAMPLE_RATE)[:n_samples]
        wave = np.pad(wave, (0, n_samples - len(wave)))
        batch["audio"].append(
            np.clip(np.rint(wave * 32768), -32768, 32767).astype("i2")
        )
        labels = np.zeros((N_FRAMES, len(data.vocabulary)), np.uint8)
        for event in data.events(row):
            first, last = int(event.onset * 25), int(np.ceil(event.offset * 25))
            labels[first:last, event.label] = 1
        batch["labels"].append(labels)
        logits = teacher.get(data.ids[row]).astype(np.float32)
        batch["teacher"].append((1 / (1 + np.exp(-logits))).astype(np.float16))
    return {name: np.stack(arrays) for name, arrays in batch.items()}


def plain_rates(
    data: PreparedData, teacher: TeacherLogits, batch: int, n_batches: int
) -> tuple[float, float]:
    """Returns the clips a second of the plain loop, by the clock and by its core's."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(data), (1 + n_batches, batch))
    plain_batch(data, teacher, rows[0])
    begin, core_begin = time.perf_counter(), time.thread_time()
    for some in rows[1:]:
        plain_batch(data, teacher, some)
    seconds, core_seconds = time.perf_counter() - begin, time.thread_time() - core_begin
    return n_batches * batch / seconds, n_batches * batch / core_seconds


def loader_rates(
    data: PreparedData, teacher: TeacherLogits, workers: int, batch: int, n_batches: int
) -> tuple[float, float]:
    """Returns the clips a second of the loader, by the clock and by its cores'."""
    options = {"seed": 0, "batch_size": batch, "teacher": teacher, "threads": 1}
    batches = training_batches(data, workers=workers, **options)
    for _ in range(2 + 4 * workers):  # processes start, and what is ahead is used up
        next(batches)
    begin = time.perf_counter()
    for _ in range(n_batches):
        next(batches)
    seconds = time.perf_counter() - begin
    batches.close()
    return n_batches * batch / seconds, batches.speed.clips_per_core_second


def measure(
    data: PreparedData, teacher: TeacherLogits, workers: list[int], args
) -> list[float]:
    """Returns medians over rounds in which all take turns; the order of the columns."""
    rounds = []
    for _ in range(args.rounds):
        found = [plain_rates(data, teacher, args.batch, args.batches)]
        for n in workers:
            found.append(loader_rates(data, teacher, n, args.batch, args.batches))
        by_clock, by_core = zip(*found)
        rounds.append([*by_clock, by_core[0], by_core[-1]])
    return [statistics.median(column) for column in zip(*rounds)]


def decoding_table(args: argparse.Namespace) -> None:
    """Prints a line a format."""
    workers = [int(n) for n in args.workers.split(",")]
    vocabulary = vocab.load("audioset_strong_447")
    columns = ["plain", *(f"{n} workers" for n in workers)]
    columns += ["a core, plain", "a core, loader"]
    print(f"| clips/s | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, (rate, options) in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for seed in range(min(args.clips, 16)):
                file = io.BytesIO()
                soundfile.write(file, sound(seed, rate), rate, **options)
                files.append(file.getvalue())
            write_folder(Path(folder) / "data", files, args.clips, vocabulary)
            data = PreparedData(Path(folder) / "data")
            teacher = write_teacher(Path(folder) / "teacher", data)
            found = measure(data, teacher, workers, args)
        print(f"| {name} | {' | '.join(f'{v:.0f}' for v in found)} |", flush=True)


def resident_mib() -> float:
    """Returns the most memory this process had, shared pages included (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


def measure_index(folder: Path) -> None:
    """Prints what opening a folder and drawing from it costs; in a fresh process."""
    before = resident_mib()
    begin = time.perf_counter()
    data = PreparedData(folder)
    print(
        f"{len(data):,} clips, {(folder / records.INDEX).stat().st_size / 2**20:.0f} MiB "
        f"of index: opened in {time.perf_counter() - begin:.2f} s; {before:.0f} MiB "
        f"resident before, {resident_mib():.0f} after"
    )
    begin = time.perf_counter()
    weights = importance_weights(data.activity())
    print(f"importance weights: {time.perf_counter() - begin:.2f} s")
    for sampling in SAMPLINGS:
        begin = time.perf_counter()
        by_class = None
        if sampling == "class_queue":
            by_class = data.activity().clips_by_class()
        order = ExampleOrder(sampling, 0, len(data), weights, clips_by_class=by_class)
        order[10**12]
        first = time.perf_counter() - begin
        n = 2**20
        begin = time.perf_counter()
        for start in range(0, n, 256):
            order.rows(np.arange(start, start + 256))
        each = (time.perf_counter() - begin) / n
        print(f"{sampling}: first draw {first:.3f} s, then {1e6 * each:.2f} us a draw")
    print(f"{resident_mib():.0f} MiB resident at the end")


def index_report(n_clips: int) -> None:
    """Writes an index and measures it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        begin = time.perf_counter()
        write_folder(path, [], n_clips, vocab.load("audioset_strong_447"))
        print(f"\nindex written in {time.perf_counter() - begin:.1f} s", flush=True)
        command = [sys.executable, "-m", "benchmarks.loader", "--measure-index", path]
        subprocess.run(command, check=True)


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", default="0,1,2")
    parser.add_argument("--index-clips", type=int, default=2_000_000)
    parser.add_argument("--measure-index", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure_index:
        measure_index(args.measure_index)
        return
    decoding_table(args)
    index_report(args.index_clips)


if __name__ == "__main__":
    main()
