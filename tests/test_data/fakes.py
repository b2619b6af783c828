"""An in-memory stand-in for PreparedData: same interface, nothing on disk."""

import io

import numpy as np
import soundfile

from jaxsed.data.activity import ClassActivity
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

RATE = 16000
N_CLASSES = 3
VOCABULARY = Vocabulary("three", ("Bark", "Bell", "Drum"))


class FakeData:
    """Clip i is a wave that tells its row and its time; class i % 3 from 1 to 2 s."""

    def __init__(self, n_clips=11, seconds=2.0, format="WAV"):
        self.vocabulary = VOCABULARY
        self.manifest = {"annotation": "frames"}
        self.manifest_hash = f"{n_clips}-{seconds}"
        self.ids = np.array([f"clip{i}" for i in range(n_clips)])
        self.durations = self.seconds = np.broadcast_to(seconds, n_clips)
        self.audio = [self._wave(i, format) for i in range(n_clips)]

    def _wave(self, row, format):
        n = round(self.seconds[row] * RATE)
        # Label frame in the low part, row in the high one: a sample names its origin.
        samples = (row + 1) * 1000 + np.arange(n) // 640
        file = io.BytesIO()
        soundfile.write(file, samples.astype(np.int16), RATE, format=format)
        return file.getvalue()

    def __len__(self):
        return len(self.ids)

    def audio_bytes(self, i):
        return self.audio[i]

    def events(self, i):
        return [Event(1.0, 2.0, i % N_CLASSES)]

    def activity(self):
        n = len(self)
        labels = np.arange(n) % N_CLASSES
        events = np.arange(n + 1), labels, np.ones(n), np.full(n, 2.0)
        return ClassActivity(*events, N_CLASSES)

    def place(self, i):
        return f"row {i}"


class FakeTeacher:
    """Logits that name clip, frame and class; lacks the ids in `without`."""

    n_classes = N_CLASSES

    def __init__(self, n_frames=250, without=()):
        self.n_frames, self.without = n_frames, without

    def check(self, data, n_frames):
        pass

    def known_frames(self, clip_id):
        return None if clip_id in self.without else self.n_frames

    def get(self, clip_id, first_frame=0, n_frames=None):
        if clip_id in self.without:
            return None
        row = int(clip_id.removeprefix("clip"))
        frames = np.arange(self.n_frames, dtype=np.float16)[:, None] / 64
        frames = frames[first_frame:][:n_frames]
        return frames + np.arange(N_CLASSES, dtype=np.float16) - np.float16(row / 4)


def assert_same_batch(left, right):
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert array.dtype == right[name].dtype, name
        np.testing.assert_array_equal(array, right[name], err_msg=name)
