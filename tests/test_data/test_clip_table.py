import pickle
import tracemalloc

import numpy as np

from jaxsed.data.layouts.audio_source import AudioSource, Folder
from jaxsed.data.layouts.hdf5_pack import Hdf5Pack
from jaxsed.data.layouts.source import ClipTableBuilder
from jaxsed.data.problems import WHOLE_CLIP, RawEvent


def table_of(audio):
    """A clip for each source, called c0, c1, ..., added last first."""
    clips = ClipTableBuilder()
    for k in reversed(range(len(audio))):
        row = clips.add_clip(f"c{k}", 10.0)
        clips.add_event(row, RawEvent(0.5, 1.0 + k, f"class {k % 2}", k))
    return clips.build(audio[::-1])


def test_clips_come_out_sorted_with_their_events(tmp_path):
    clips = ClipTableBuilder()
    second = clips.add_clip("b", 7.5)
    first = clips.add_clip("a", 10.0)
    events = [RawEvent(k / 2, k + 1.0, ("x", "y")[k % 2], k) for k in range(5)]
    for k, event in enumerate(events):
        clips.add_event((second, first)[k % 2], event)
    assert clips.add_clip("b", 3.0) == second  # the first length stays
    assert (clips.ids, clips.labels, "a" in clips, len(clips)) == (
        ["b", "a"],
        ["x", "y"],
        True,
        2,
    )
    sound = AudioSource(Folder(tmp_path), "a.wav")
    table = clips.build([None, sound])
    assert len(table) == 2
    assert table[0] == ("a", sound, (events[1], events[3]), 10.0)
    assert table[1] == table[-1] == ("b", None, (events[0], events[2], events[4]), 7.5)
    assert table[:1] == table[np.array([0])] == (table[0],)
    assert list(table) == [table[0], table[1]]
    assert repr(table[0].events[0]) == repr(events[1])  # plain numbers: fingerprints
    renamed = clips.build([None, sound], ["1", "2"])
    assert [clip.id for clip in renamed] == ["1", "2"]
    assert renamed[0].listed_seconds == 7.5


def test_clips_without_events_and_no_clips():
    clips = ClipTableBuilder()
    assert len(clips.build([])) == 0
    clips.add_clip("a", 1.0)
    assert clips.build([None])[0].events == ()
    assert not clips.build([None]).has_audio


def test_the_reading_order_follows_files_by_id_and_packs_by_row(tmp_path):
    folder = Folder(tmp_path)
    files = table_of([None, AudioSource(folder, "z"), None, AudioSource(folder, "a")])
    assert files.reading_order().tolist() == [0, 1, 2, 3]
    one, two = Hdf5Pack(tmp_path, "1.hdf"), Hdf5Pack(tmp_path, "2.hdf")
    rows = [(two, 1), (one, 10), None, (two, 0), (one, 9), (one, 100)]
    packed = table_of([row and AudioSource(*row) for row in rows])
    assert packed.reading_order().tolist() == [2, 4, 1, 5, 3, 0]


def test_columns_are_small(tmp_path):
    """Two million clips of AudioSet must fit beside everything else."""
    tracemalloc.start()
    clips, folder, audio = ClipTableBuilder(), Folder(tmp_path), []
    for k in range(10_000):
        row = clips.add_clip(f"{k:011d}", 10.0)
        for label in range(3):
            clips.add_event(row, RawEvent(*WHOLE_CLIP, f"/m/{label}", k))
        audio.append(AudioSource(folder, f"audio/Y{k:011d}.mp3"))
    table = clips.build(audio)
    del clips, audio
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 10_000
    assert held / len(table) < 500  # bytes; 1 GB for two million
    part = table[np.arange(100)]
    assert len(pickle.dumps(part)) < 30_000
