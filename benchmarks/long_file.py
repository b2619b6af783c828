"""Detects events in a long file and prints time, memory and how steady a tone stays.

  python -m benchmarks.long_file MODEL_DIR [--hours 2] [--workdir runs/long_file]

Writes a mono 16-bit wav at 44.1 kHz: noise with tone bursts, and in its last tenth a
steady tone. Expected: peak memory under 2 GB whatever the length, and over the tone no
step from frame to frame at the windows' borders larger than those within one window.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import soundfile

import jaxsed
from jaxsed.inference import report, stream

SAMPLE_RATE = 44_100
BLOCK_SECONDS = 10
TONE_HZ = 1000
TONE_PART = 0.1


def write_long_file(path: Path, hours: float) -> float:
    """Writes the file block by block; returns where the tone starts, in seconds."""
    rng = np.random.default_rng(0)
    time_seconds = np.arange(SAMPLE_RATE * BLOCK_SECONDS) / SAMPLE_RATE
    n_blocks = max(10, round(hours * 3600 / BLOCK_SECONDS))
    first_tone = round(n_blocks * (1 - TONE_PART))
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for block in range(n_blocks):
            if block >= first_tone:
                file.write(0.3 * np.sin(2 * np.pi * TONE_HZ * time_seconds))
                continue
            wave = 0.01 * rng.standard_normal(len(time_seconds))
            for _ in range(3):
                start = rng.integers(0, SAMPLE_RATE * (BLOCK_SECONDS - 2))
                length = rng.integers(SAMPLE_RATE // 4, SAMPLE_RATE * 2)
                burst = np.sin(2 * np.pi * rng.uniform(200, 4000) * time_seconds)
                burst = burst[:length] * np.hanning(length)
                wave[start : start + length] += 0.4 * burst
            file.write(wave)
    return float(first_tone * BLOCK_SECONDS)


def tone_steps(detector, path: Path, tone_seconds: float) -> tuple[float, float]:
    """Returns the largest change of a score from frame to frame over the tone.

    First over a minute of it, then over ten seconds, which are a window. Where the
    tone starts and ends, half a second is left out: there the sound changes.
    """
    wave, _ = soundfile.read(path, start=round((tone_seconds + 20) * SAMPLE_RATE))
    tone = path.with_name("tone.wav")
    steps = []
    for seconds in (60, 10):
        soundfile.write(tone, wave[: seconds * SAMPLE_RATE], SAMPLE_RATE)
        scores = detector.scores(tone).iloc[12:-12, 2:].to_numpy()
        steps.append(float(np.abs(np.diff(scores, axis=0)).max()))
    tone.unlink()
    return steps[0], steps[1]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--workdir", type=Path, default=Path("runs/long_file"))
    args = parser.parse_args()
    args.workdir.mkdir(parents=True, exist_ok=True)
    path = args.workdir / "long.wav"
    tone_seconds = write_long_file(path, args.hours)
    detector = jaxsed.load(args.model)
    started = time.perf_counter()
    found: stream.Detections = report.draw_file(
        detector, path, args.workdir / "long.png", threshold=0.3
    )
    elapsed = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{found.duration_seconds:.0f} s of sound in {elapsed:.1f} s, ", end="")
    print(f"{found.duration_seconds / elapsed:.0f} x real time; peak {peak:.0f} MB")
    long, alone = tone_steps(detector, path, tone_seconds)
    print(f"steady tone: largest step of a score {long:.4f}, in a window {alone:.4f}")


if __name__ == "__main__":
    main()
