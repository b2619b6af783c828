"""Writes the same small data set in every layout, for the tests of `prepare`."""

import io
import json

import numpy as np
import soundfile

from jaxsed.labels import vocab

from .audioset_folder import tone, write_tables

RATE = 16_000
CLASSES = vocab.load("audioset_527")
SPEECH, DOG, MUSIC = "/m/09x0r", "/m/0bt9lr", "/m/04rlf"
# YouTube id, start of the segment in ms, labels of the clip. The first id starts with a
# dash and the last with a Y, as they do.
CLIPS = (
    ("-0dashdash00", 30_000, (SPEECH, DOG)),
    ("abcdefghij1", 0, (MUSIC,)),
    ("abcdefghij2", 10_000, (SPEECH,)),
    ("Yabcdefghi3", 420_000, (DOG, MUSIC)),
)
CLIPS = tuple((video[:11], start, labels) for video, start, labels in CLIPS)
VIDEOS = [video for video, _, _ in CLIPS]
# Events of the strong tables: segment id, onset, offset, label.
EVENTS = [
    (f"{video}_{start}", 0.5 + k, 2.25 + k, label)
    for video, start, labels in CLIPS
    for k, label in enumerate(labels)
]
NAMES = {mid: CLASSES.names[CLASSES.index(mid)] for mid in (SPEECH, DOG, MUSIC)}


def sound(k, format="MP3", seconds=10.0):
    """Returns the bytes of the sound file of clip k."""
    file = io.BytesIO()
    soundfile.write(file, tone(seconds, RATE, hz=300 + 100 * k), RATE, format=format)
    return file.getvalue()


SOUNDS = [sound(k) for k in range(len(CLIPS))]


def write_files(root, name="Y{video}.mp3", folder="audio"):
    """Writes the sounds as files."""
    for (video, start, _), content in zip(CLIPS, SOUNDS, strict=True):
        path = root / folder / name.format(video=video, start=start)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_strong(root, split="train"):
    """Writes the tables of AudioSet Strong."""
    return write_tables(root, EVENTS, split, NAMES)


def write_segments(root, part="balanced_train", clips=CLIPS):
    """Writes a table of AudioSet as it is released."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Segments csv created Sun Mar  5 10:54:31 2017",
        f"# num_ytids={len(clips)}, num_segs={len(clips)}",
        "# YTID, start_seconds, end_seconds, positive_labels",
    ]
    lines += [
        f'{video}, {start / 1000:.3f}, {start / 1000 + 10:.3f}, "{",".join(labels)}"'
        for video, start, labels in clips
    ]
    path = root / f"{part}_segments.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_pack(root, part="balanced_train", clips=CLIPS, sounds=SOUNDS, names=None):
    """Writes an HDF5 file as the scripts of PaSST do."""
    import h5py

    root.mkdir(parents=True, exist_ok=True)
    target = np.zeros((len(clips), len(CLASSES)), bool)
    for row, (_, _, labels) in enumerate(clips):
        target[row, [CLASSES.index(label) for label in labels]] = True
    names = names or [f"Y{video}.mp3" for video, _, _ in clips]
    path = root / f"{part}_segments_mp3.hdf"
    with h5py.File(path, "w") as file:
        file["audio_name"] = np.array(names, "S20")
        file["target"] = np.packbits(target, axis=-1)
        kind = h5py.vlen_dtype(np.dtype("uint8"))
        mp3 = file.create_dataset("mp3", (len(clips),), dtype=kind)
        for row, content in enumerate(sounds[: len(clips)]):
            mp3[row] = np.frombuffer(content, np.uint8)
    return path


def write_parquet(
    root, columns, name="data/train-00000.parquet", features=None, rows=2
):
    """Writes columns as a parquet file with `rows` rows a row group."""
    import pyarrow
    from pyarrow import parquet

    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    if features:
        text = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": text})
    parquet.write_table(table, path, row_group_size=rows)
    return path


def clip_columns(sounds=SOUNDS):
    """Returns the columns of agkphysics/AudioSet on the Hub."""
    return {
        "video_id": VIDEOS,
        "audio": [
            {"bytes": content, "path": f"audio/bal_train/{video}.mp3"}
            for video, content in zip(VIDEOS, sounds, strict=True)
        ],
        "labels": [list(labels) for _, _, labels in CLIPS],
        "human_labels": [[NAMES[mid] for mid in labels] for _, _, labels in CLIPS],
    }


def event_columns():
    """Returns the columns that PretrainedSED's script writes, as lists of structures."""
    segments = [f"{video}_{start}" for video, start, _ in CLIPS]
    return {
        "filename": [f"{segment}.mp3" for segment in segments],
        "mp3_bytes": SOUNDS,
        "labels": [[NAMES[mid] for mid in labels] for _, _, labels in CLIPS],
        "events": [
            [
                {
                    "onset": onset,
                    "offset": offset,
                    "event_label": NAMES[label],
                    "event_label_id": label,
                }
                for clip, onset, offset, label in EVENTS
                if clip == segment
            ]
            for segment in segments
        ],
    }
