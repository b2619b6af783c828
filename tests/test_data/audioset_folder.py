"""Writes small folders in the layout of AudioSet Strong, for the tests of `prepare`."""

import numpy as np
import soundfile

NAMES = {
    "/m/05tny_": "Bark",
    "/m/07qrkrw": "Meow",
    "/m/09x0r": "Speech",
    "/m/028v0c": "Silence",
}
BARK, MEOW, SPEECH, SILENCE = NAMES
HEADER = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel"


def tone(seconds=10.0, rate=8000, channels=1, hz=440.0):
    """Returns float32 `[n, channels]`: a tone, quieter in every further channel."""
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * hz * time)
    return np.stack([wave / (1 + c) for c in range(channels)], 1).astype(np.float32)


def write_tables(root, rows, split="train", names=None):
    """Writes the TSVs; `rows` are `(clip, onset, offset, label)`."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [HEADER] + ["\t".join(map(str, row)) for row in rows]
    table = root / f"audioset_{split}_strong.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = (names or NAMES).items()
    (root / "mid_to_display_name.tsv").write_text(
        "".join(f"{mid}\t{name}\n" for mid, name in pairs), encoding="utf-8"
    )
    return table


def write_audio(root, name, wave=None, rate=8000, split="train", **options):
    """Writes a sound file under `root/audio/<split>`."""
    path = root / "audio" / split / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone() if wave is None else wave, rate, **options)
    return path


def write_folder(root, n_clips=6, split="train", seconds=10.0):
    """Writes `n_clips` good clips with two events each, as FLAC."""
    rows = []
    for i in range(n_clips):
        clip = f"clip{i:03d}_{i}000"
        wave = tone(seconds, hz=200.0 + 10 * i)
        write_audio(root, f"{clip}.flac", wave, split=split)
        rows.append((clip, 1.0, 2.5, SPEECH))
        rows.append((clip, 3.0 + i / 10, 4.0 + i / 10, (BARK, MEOW)[i % 2]))
    write_tables(root, rows, split)
    return root
