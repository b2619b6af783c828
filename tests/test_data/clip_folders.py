"""Writes small folders of labelled clips in several layouts, for the tests of `prepare`."""

import soundfile

from .audioset_folder import tone

RATE = 8000


def write_sound(path, seconds=0.2, hz=300.0, **options):
    """Writes a tone; the folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, RATE, hz=hz), RATE, **options)
    return path


def write_text(path, text):
    """Writes bytes, or text as UTF-8; the folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


VGGSOUND = """---g-f_I2yQ,1,people marching,test
--0PQM4-hqg,30,waterfall burbling,train
--56QUhyDQM,185,"bird chirping, tweeting",train
-0dashdash0,7,people marching,train
-0dashdash0,40,people marching,train
"""


def write_vggsound(root, name="{video}_{start:06d}.wav"):
    """Writes the table of VGGSound, and its sounds."""
    write_text(root / "vggsound.csv", VGGSOUND)
    for line in VGGSOUND.splitlines():
        video, start = line.split(",")[:2]
        start = int(start)
        values = {"video": video, "start": start, "end": start + 10}
        values |= {"start_ms": 1000 * start, "end_ms": 1000 * (start + 10)}
        write_sound(root / "audio" / name.format(**values), 10.0)
    return root


UTTERANCES = (
    ("1", "id10001/1zcIwhmdeo4/00001"),
    ("1", "id10002/0_laIeN-Q44/00001"),
    ("1", "id10002/0_laIeN-Q44/00002"),
    ("2", "id10001/7gWzIy6yIIk/00001"),
    ("3", "id10270/5r0dWxy17C8/00001"),
)


def write_voxceleb1(root, folder="wav"):
    """Writes the list of VoxCeleb1's identification, and its sounds."""
    lines = [f"{code} {path}.wav" for code, path in UTTERANCES]
    write_text(root / "iden_split.txt", "\n".join(lines) + "\n")
    for k, (_, path) in enumerate(UTTERANCES):
        write_sound(root / folder / f"{path}.wav", 0.1 + 0.1 * k)
    return root


KINETICS = """label,youtube_id,time_start,time_end,split,is_cc
abseiling,-3B32lodo2M,59,69,{split},0
"playing guitar",_dbcJuKJQNs,40,50,{split},0
playing_guitar,abcdefghij1,0,10,{split},0
tapping pen,abcdefghij2,100,110,{split},0
"""


def write_kinetics(
    root, name="{label}/{video}_{start:06d}_{end:06d}.wav", split="train"
):
    """Writes a table of Kinetics, and sounds of all its clips."""
    as_released = {"train": "train", "validation": "val", "eval": "test"}[split]
    write_text(root / f"{as_released}.csv", KINETICS.format(split=as_released))
    for line in KINETICS.splitlines()[1:]:
        label, video, start, end = line.replace('"', "").split(",")[:4]
        name_of = {"label": label, "video": video, "start": int(start), "end": int(end)}
        write_sound(root / "audio" / name.format(**name_of), 10.0)
    return root
