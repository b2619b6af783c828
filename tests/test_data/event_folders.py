"""Writes small folders of sounds with events in several layouts, for the tests."""

import json

from .clip_folders import write_sound, write_text

DESED_HEADER = "filename\tonset\toffset\tevent_label\n"
DESED = {
    "metadata/train/audioset_strong.tsv": DESED_HEADER
    + "Ya_30.000_40.000.wav\t0.1\t0.3\tSpeech\nYb_0.000_10.000.wav\t\t\t\n",
    "metadata/train/weak.tsv": "filename\tevent_labels\nYw_1.000_11.000.wav\tDog,Speech\n",
    "dcase_synth/metadata/train/synthetic21_train/soundscapes.tsv": DESED_HEADER
    + "1.wav\t0.0\t0.2\tFrying\n",
    "metadata/validation/validation.tsv": DESED_HEADER
    + "Yv_0.000_10.000.wav\t0.0\t0.2\tCat\n",
    "metadata/validation/validation_durations.tsv": "filename\tduration\n"
    "Yv_0.000_10.000.wav\t0.4\nYsilent_0.000_10.000.wav\t0.4\n",
    "public/metadata/eval/public.tsv": DESED_HEADER + "p_1_2.wav\t0.1\t0.2\tBlender\n",
}
DESED_SOUNDS = (
    "audio/train/strong_label_real/Ya_30.000_40.000.wav",
    "audio/train/strong_label_real/Yb_0.000_10.000.wav",
    "audio/train/weak/Yw_1.000_11.000.wav",
    "audio/train/unlabel_in_domain/Yw_1.000_11.000.wav",
    "dcase_synth/audio/train/synthetic21_train/soundscapes/1.wav",
    "audio/validation/validation/Yv_0.000_10.000.wav",
    "audio/validation/validation/Ysilent_0.000_10.000.wav",
    "public/audio/eval/public/p_1_2.wav",
)


def write_desed(root):
    """Writes the tables of DESED, and sounds of all its clips."""
    for name, text in DESED.items():
        write_text(root / name, text)
    for name in DESED_SOUNDS:
        write_sound(root / name, 0.4)
    return root


def write_hear(
    root, splits, rate=48000, vocabulary="idx,label\n0,dog\n1,bell\n", **more
):
    """Writes a task of HEAR: split -> file -> `(label, start in ms, end in ms)`, ..."""
    metadata = {"task_name": "tiny", "embedding_type": "event"} | more
    write_text(root / "task_metadata.json", json.dumps(metadata))
    write_text(root / "labelvocabulary.csv", vocabulary)
    keys = ("label", "start", "end")
    for split, files in splits.items():
        events = {
            file: [dict(zip(keys, event)) for event in rows]
            for file, rows in files.items()
        }
        write_text(root / f"{split}.json", json.dumps(events))
        for file in files:
            write_sound(root / str(rate) / split / file, 0.4)
    return root
