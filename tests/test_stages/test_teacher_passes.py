import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.audio.decode import load_mono, to_int16
from jaxsed.data import pipelines
from jaxsed.data.records import PreparedData
from jaxsed.data.slices import Slices
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.data.teacher_writer import TeacherLogitsWriter
from jaxsed.errors import InputError
from jaxsed.stages.teacher_passes import SUMMED_SHARDS, TeacherPasses
from jaxsed.stages.teachers import HeldTeachers, Teacher, local_mesh, open_teachers
from tests.test_stages.recordings import Recordings


@pytest.fixture(scope="module")
def data(small):
    return PreparedData(small()["data"]["eval"])


class Hearing32kHz(Teacher):
    """As no encoder here does yet."""

    sample_rate = 32_000


@pytest.fixture(scope="module")
def mixed(teachers):
    """Three teachers, of which the second one hears another sample rate."""
    first, last = open_teachers(teachers, [10.0])
    fields = {
        field.name: getattr(first, field.name) for field in dataclasses.fields(first)
    }
    return [first, Hearing32kHz(**fields | {"name": "t1b"}), last]


def passes(teachers, **changes):
    return TeacherPasses(teachers, mesh=local_mesh(), batch_size=5, **changes)


@pytest.mark.parametrize("at_once", [0, 1])
def test_sound_is_decoded_once_for_each_sample_rate_of_a_group(
    data, mixed, tmp_path, monkeypatch, at_once
):
    loaded, heard, done = [], {}, []
    batches = pipelines.evaluation_batches

    def loading(clips, **settings):
        loaded.append((settings["sample_rate"], settings["workers"]))
        return batches(clips, **settings | {"workers": 0})

    def add(held, teacher, audio, total):
        heard.setdefault(teacher.name, []).append(np.asarray(audio))
        number = list(heard).index(teacher.name) + 1
        return total + number, jnp.ones(len(total), bool)

    monkeypatch.setattr(pipelines, "evaluation_batches", loading)
    monkeypatch.setattr(HeldTeachers, "hold", lambda *_: None)
    monkeypatch.setattr(HeldTeachers, "add", add)
    names = {teacher.name: "" for teacher in mixed}
    vocabulary = mixed[0].vocabulary
    with TeacherLogitsWriter(
        tmp_path, data.ids, 250, vocabulary, names, shard_clips=6
    ) as writer:
        passes(mixed, at_once=at_once, workers=3).run(
            writer, [0, 1], Slices(data, 10.0), done.append
        )
    if at_once:
        assert loaded == [(16000, 3), (32000, 3), (16000, 3)]
    else:  # the loader processes are shared
        assert loaded == [(16000, 2), (32000, 2)]
    assert sum(done) == 3 * len(data)
    # 6 and 2 clips, filled up to batches of 8, which 8 devices share.
    rows = [*range(6), 0, 0, 6, 7, *[6] * 6]
    for teacher in mixed:
        sounds = np.concatenate(heard[teacher.name])
        expected = to_int16(load_mono(data.audio_bytes(7), teacher.sample_rate))
        np.testing.assert_array_equal(sounds[rows.index(7)], expected)
        np.testing.assert_array_equal(sounds[6], sounds[0])
    assert (TeacherLogits(tmp_path).get(data.ids[7]) == 2).all()  # of 1, 2 and 3


def test_recordings_are_heard_to_their_end(teachers, tmp_path, monkeypatch):
    def add(held, teacher, audio, total):
        frames = audio[:, ::640, None] % 1000  # what frame of its clip each is
        return total + frames, jnp.ones(len(total), bool)

    monkeypatch.setattr(HeldTeachers, "hold", lambda *_: None)
    monkeypatch.setattr(HeldTeachers, "add", add)
    first, *_ = open_teachers(teachers, [10.0])
    recordings, decoded = Recordings(), []
    audio_bytes = recordings.audio_bytes
    recordings.audio_bytes = lambda row: decoded.append(row) or audio_bytes(row)
    slices = Slices(recordings, 10.0)
    with TeacherLogitsWriter(
        tmp_path,
        recordings.ids.tolist(),
        250,
        first.vocabulary,
        {first.name: ""},
        slices=slices.rows,
        shard_clips=3,
    ) as writer:
        passes([first]).run(writer, writer.pending(), slices)
    assert sorted(decoded) == [0, 1, 2, 3]
    store = TeacherLogits(tmp_path)
    frames = np.arange(608)[:, None].repeat(len(first.vocabulary), 1)
    np.testing.assert_array_equal(store.get("clip1")[:607], frames[:607])
    np.testing.assert_array_equal(store.get("clip1", 300, 250), frames[300:550])
    assert store.known_frames("clip3") == 500 and store.known_frames("clip2") == 250


def test_room_is_asked_for_sums_only_where_there_are_any(mixed):
    assert passes(mixed).n_sums == 0
    assert passes(mixed, at_once=3).n_sums == 0
    assert passes(mixed, at_once=2).n_sums == SUMMED_SHARDS + 1


@pytest.mark.parametrize("wrong", [{"at_once": -1}, {"batch_size": 0}])
def test_settings_out_of_range_are_refused(mixed, wrong):
    settings = {"batch_size": 8, **wrong}
    with pytest.raises(InputError, match=r"teachers_at_once=-1|batch_size=0"):
        TeacherPasses(mixed, mesh=local_mesh(), **settings)
