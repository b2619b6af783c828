"""The same clips come out whichever layout they lie in."""

import numpy as np
import pytest

from jaxsed.data.layouts import (
    audioset_hdf5,
    audioset_strong,
    audioset_weak,
    huggingface_parquet,
)
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.labels.events import clip_targets

from . import packs


def of_files(root):
    packs.write_segments(root)
    packs.write_files(root)
    return audioset_weak.read(root, "train")


def of_packs(root):
    packs.write_pack(root, "balanced_train", packs.CLIPS[:1])
    packs.write_pack(root, "unbalanced_train", packs.CLIPS[1:], packs.SOUNDS[1:])
    return audioset_hdf5.read(root, "train")


def of_parquet(root):
    packs.write_parquet(root, packs.clip_columns())
    return huggingface_parquet.read(root, "train")


def strong_files(root):
    packs.write_strong(root)
    packs.write_files(root)
    return audioset_strong.read(root, "train")


def strong_packs(root):
    packs.write_strong(root)
    packs.write_pack(root, "balanced_train", packs.CLIPS[:1])
    packs.write_pack(root, "unbalanced_train", packs.CLIPS[1:], packs.SOUNDS[1:])
    return audioset_hdf5.read(root, "train")


def strong_parquet(root):
    packs.write_parquet(root, packs.event_columns())
    return huggingface_parquet.read(root, "train")


def prepared(read, root, **options):
    source = read(root / "source")
    manifest = prepare(source, root / "out", **options)
    assert manifest["problems"] == {}
    return PreparedData(root / "out")


@pytest.mark.parametrize("read", [of_files, of_packs, of_parquet])
def test_labels_of_clips(read, tmp_path):
    data = prepared(read, tmp_path)
    assert data.manifest["annotation"] == "clips"
    assert data.vocabulary == packs.CLASSES
    assert list(data.ids) == sorted(packs.VIDEOS)
    for k, (video, _, labels) in enumerate(packs.CLIPS):
        i = list(data.ids).index(video)
        assert data.audio_bytes(i) == packs.SOUNDS[k]
        events = data.events(i)
        assert {(event.onset, event.offset) for event in events} == {
            (0.0, data.durations[i])
        }
        expected = np.isin(packs.CLASSES.mids, labels)
        np.testing.assert_array_equal(clip_targets(events, 527), expected)


@pytest.mark.parametrize("read", [strong_files, strong_packs, strong_parquet])
def test_events(read, tmp_path):
    data = prepared(read, tmp_path)
    assert data.manifest["annotation"] == "frames"
    assert data.vocabulary.names == ("Dog", "Music", "Speech")
    assert data.vocabulary.mids == (packs.DOG, packs.MUSIC, packs.SPEECH)
    assert list(data.ids) == sorted({event[0] for event in packs.EVENTS})
    for k, (video, start, _) in enumerate(packs.CLIPS):
        i = list(data.ids).index(f"{video}_{start}")
        assert data.audio_bytes(i) == packs.SOUNDS[k]
        found = [
            (e.onset, e.offset, data.vocabulary.mids[e.label]) for e in data.events(i)
        ]
        assert found == [event[1:] for event in packs.EVENTS if event[0] == data.ids[i]]


@pytest.mark.parametrize(
    "layouts",
    [(of_files, of_packs, of_parquet), (strong_files, strong_packs, strong_parquet)],
)
def test_the_content_hash_tells_that_data_are_the_same(layouts, tmp_path):
    hashes = set()
    for read in layouts:
        for n_shards in (1, 3):
            root = tmp_path / f"{read.__name__}-{n_shards}"
            hashes.add(prepared(read, root, n_shards=n_shards).manifest_hash)
    assert len(hashes) == 1
