"""Slices put together again are the clip, and a clip is decoded once for all of them."""

import collections
import pickle

import numpy as np
import pytest

from jaxsed.data import examples
from jaxsed.data.activity import ClassActivity
from jaxsed.data.clip_selection import ClipSelection
from jaxsed.data.pipelines import evaluation_batches
from jaxsed.data.slices import Slice, Slices
from jaxsed.errors import InputError
from jaxsed.labels.events import Event, frame_targets
from tests.test_data.fakes import N_CLASSES, RATE, FakeData, assert_same_batch

SECONDS = (0.5, 3.5, 1.05, 2.0, 3.12, 1.0)  # of clips, with slices of 1 s


class LongData(FakeData):
    """Clips of several lengths; a class sounds across the borders of slices."""

    def __init__(self):
        super().__init__(len(SECONDS), np.array(SECONDS))

    def events(self, i):
        end = float(self.seconds[i])
        found = [Event(0.4 * end, 0.9 * end, i % N_CLASSES), Event(0.0, end, 2)]
        return sorted(found) + [Event(1.0, 1.0, 0)] * (end > 1.5)

    def activity(self):
        events = [self.events(i) for i in range(len(self))]
        first = np.append(0, np.cumsum([len(of_clip) for of_clip in events]))
        onsets, offsets, labels = np.array([e for c in events for e in c]).T
        return ClassActivity(first, labels.astype(int), onsets, offsets, N_CLASSES)


@pytest.fixture
def data():
    return LongData()


@pytest.fixture
def decodings(monkeypatch):
    """Counts how often each clip is decoded."""
    counts, load_mono = collections.Counter(), examples.load_mono

    def counted(source, sample_rate, name):
        counts[name] += 1
        return load_mono(source, sample_rate, name)

    monkeypatch.setattr(examples, "load_mono", counted)
    return counts


def batches_of(data, batch_size=3, **changes):
    arguments = {"clip_seconds": 1.0, "n_frames": 25, "sample_rate": RATE}
    return evaluation_batches(data, batch_size=batch_size, **(arguments | changes))


def test_slices_lie_one_behind_the_other(data):
    slices = Slices(data, 1.0)
    found = [slices.slice(i) for i in range(len(slices))]
    # The end of clip 2 is within what coding adds; that of clip 4 is not.
    assert found == [
        Slice(0, 0, 25),
        *(Slice(1, 0, 25), Slice(1, 25, 25), Slice(1, 50, 25), Slice(1, 75, 13)),
        Slice(2, 0, 25),
        *(Slice(3, 0, 25), Slice(3, 25, 25)),
        *(Slice(4, 0, 25), Slice(4, 25, 25), Slice(4, 50, 25), Slice(4, 75, 3)),
        Slice(5, 0, 25),
    ]
    assert slices.clip_frames.tolist() == [25, 88, 25, 50, 78, 25]
    assert slices.ids[:5] == ["clip0", "clip1@0", "clip1@1", "clip1@2", "clip1@3"]
    assert slices.ids[-1] == "clip5" and list(slices.ids)[5] == "clip2"
    with pytest.raises(IndexError):
        slices.ids[13]
    expected = [0.5, 1, 1, 1, 0.5, 1.05, 1, 1, 1, 1, 1, 0.12, 1]
    np.testing.assert_allclose(slices.durations, expected, rtol=1e-12)
    weights = slices.rows.weights(np.arange(13))
    np.testing.assert_allclose(weights[1:5], np.array([25, 25, 25, 13]) / 88)
    assert weights[[0, 5, 12]].tolist() == [1.0, 1.0, 1.0]
    heads = Slices(data, 1.0, most=1)
    assert [heads.slice(i).clip for i in range(len(heads))] == list(range(6))
    assert heads.clip_frames.tolist() == [25] * 6


def test_clips_that_are_one_slice_are_what_they_were():
    data = FakeData(5, seconds=np.array([0.3, 1.0, 1.09, 0.7, 1.0]))
    slices = pickle.loads(pickle.dumps(Slices(data, 1.0)))
    assert list(slices.ids) == data.ids.tolist()
    assert slices.manifest_hash == data.manifest_hash
    assert [slices.events(i) for i in range(5)] == [data.events(i) for i in range(5)]
    assert slices.keep_bytes(RATE, 100) == 0
    for sliced, whole in zip(batches_of(slices), batches_of(data), strict=True):
        assert_same_batch(sliced, whole)


def test_audio_and_labels_put_together_are_those_of_the_clip(data):
    slices = pickle.loads(pickle.dumps(Slices(data, 1.0)))
    parts = collections.defaultdict(list)
    for batch in batches_of(slices):
        for k in np.flatnonzero(batch["valid"]):
            clip, _, n_frames = slices.slice(batch["index"][k])
            samples = batch["audio"][k, : batch["n_samples"][k]]
            parts[clip].append((samples, batch["labels"][k, :n_frames]))
    assert parts.keys() == set(range(6))
    whole = examples.DecodedClips(data, RATE)
    for clip, of_clip in parts.items():
        audio, labels = (np.concatenate(part) for part in zip(*of_clip))
        n_samples = RATE if clip == 2 else len(whole[clip])  # its end is not heard
        np.testing.assert_array_equal(audio, whole[clip][:n_samples])
        expected = frame_targets(data.events(clip), N_CLASSES, len(labels))
        np.testing.assert_array_equal(labels, expected)
    assert slices.manifest_hash != data.manifest_hash


@pytest.mark.parametrize("threads", [1, 2])
def test_every_clip_is_decoded_once(data, decodings, threads):
    slices, batch_size = Slices(data, 1.0), 2
    keep = slices.keep_bytes(RATE, (threads + 1) * batch_size)
    how = {"threads": threads, "targets": None, "cache_decoded_bytes": keep}
    assert len(list(batches_of(slices, batch_size, **how))) == 7
    assert decodings.pop("clip0") <= 2  # it fills up the last batch
    assert decodings == {f"clip{i}": 1 for i in range(1, 6)}


def test_whoever_reads_in_order_decodes_once_without_asking_for_it(data, decodings):
    samples = examples.decoded(Slices(data, 1.0), RATE)
    assert [len(samples[i]) for i in range(13)][1:5] == [RATE, RATE, RATE, RATE // 2]
    assert set(decodings.values()) == {1}


def test_every_process_decodes_what_it_hears_of_once(data, decodings):
    slices = Slices(data, 1.0)
    for process in range(2):
        share = {"process_index": process, "process_count": 2, "threads": 0}
        list(batches_of(slices, 4, targets=None, **share))
    assert decodings.pop("clip0") <= 3  # it fills up the last batch of both
    assert decodings == {"clip1": 2, "clip2": 1, "clip3": 1, "clip4": 2, "clip5": 1}


def test_slices_can_be_selected(data):
    slices = Slices(data, 1.0)
    rows = [4, 2, 2, 11]
    selection = ClipSelection(slices, rows)
    assert selection.ids == ["clip1@3", "clip1@1", "clip1@1", "clip4@3"]
    heard = next(iter(batches_of(selection, 4)))["audio"]
    every = np.concatenate([batch["audio"] for batch in batches_of(slices)])
    np.testing.assert_array_equal(heard, every[rows])


def test_activity_is_that_of_the_slices_events(data):
    slices = Slices(data, 1.0)
    expected = np.zeros((len(slices), N_CLASSES))
    for i in range(len(slices)):
        for event in slices.events(i):
            assert 0 <= event.onset <= event.offset <= slices.durations[i] + 1e-9
            expected[i, event.label] += event.offset - event.onset
    found = np.zeros_like(expected)
    for rows, labels, seconds in slices.activity().blocks():
        found[rows, labels] = seconds
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(found > 0, expected > 0)
    total = data.activity().class_seconds()
    np.testing.assert_allclose(slices.activity().class_seconds(), total)


@pytest.mark.parametrize("seconds", [0.0, 0.5, -1.0, 0.01])
def test_slices_are_whole_label_frames(data, seconds):
    with pytest.raises(InputError, match=rf"slices of {seconds} s: expected whole"):
        Slices(data, seconds)
