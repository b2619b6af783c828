import dataclasses

import jax
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.stages.teachers import HeldTeachers, local_mesh, open_teachers
from jaxsed.weights import files


def test_teachers_are_opened_in_the_order_of_their_names(teachers):
    folders = dict(sorted(teachers.items(), reverse=True))
    opened = open_teachers(folders, [10.0])
    assert [teacher.name for teacher in opened] == ["t1", "t2"]
    assert opened[0].architecture == opened[1].architecture
    assert opened[0].sample_rate == 16000
    assert opened[0].model.encoder.dtype == "float32"
    (half,) = open_teachers({"t1": teachers["t1"]}, [10.0], "bfloat16")
    assert half.model.encoder.dtype == "bfloat16"


@pytest.mark.parametrize("seconds", [10.01, 11.0, -1.0])
def test_clips_that_a_teacher_cannot_hear_are_refused(teachers, seconds):
    with pytest.raises(InputError, match=f"teacher 't1': data.clip_seconds={seconds}"):
        open_teachers(teachers, [10.0, seconds])


def test_teachers_whose_logits_are_chance_are_refused(teachers, monkeypatch):
    read, drawn = files.read_description, {"weak_head/kernel": "drawn with seed 0"}
    monkeypatch.setattr(
        files,
        "read_description",
        lambda folder: {**read(folder), "provenance": {"fresh": drawn}},
    )
    assert len(open_teachers(teachers, [10.0])) == 2
    with pytest.raises(InputError, match="teacher 't1': its weak_head was never trai"):
        open_teachers(teachers, [10.0], targets="clip")


def test_only_those_that_are_held_are_in_memory(teachers, monkeypatch):
    opened, loaded = open_teachers(teachers, [10.0]), []
    load_model = files.load_model
    monkeypatch.setattr(
        files, "load_model", lambda folder: loaded.append(folder) or load_model(folder)
    )
    held = HeldTeachers(local_mesh())
    held.hold(opened)
    held.hold(opened)
    assert len(loaded) == 2
    held.hold(opened[:1])
    held.hold(opened)
    assert loaded[2:] == [opened[1].folder]
    held.hold([])
    assert not held._params


def test_what_teachers_say_is_added_up(teachers):
    opened = open_teachers(teachers, [10.0])
    twin = dataclasses.replace(opened[0], name="twin")
    held = HeldTeachers(local_mesh(fsdp=2))
    held.hold([opened[0], twin])
    rng = np.random.default_rng(0)
    sound = held.put(rng.integers(-9000, 9000, (8, 16000), np.int16))
    n_classes = len(opened[0].vocabulary)
    once, finite = held.add(opened[0], sound, held.zeros((8, 25, n_classes)))
    assert np.asarray(finite).all()
    once = np.asarray(once)
    assert np.abs(once).max() > 0.01
    twice, _ = held.add(twin, sound, held.put(once))
    np.testing.assert_array_equal(twice, 2 * once)
    assert len(held._programs) == 1


def test_the_mean_is_rounded_once_and_stays_finite():
    held = HeldTeachers(local_mesh())
    total = np.zeros((8, 2, 3), np.float32)
    total[0, 0] = 1.0, 3e5, -3e5
    mean = held.mean(held.put(total), 3)
    assert mean.sharding.is_equivalent_to(held.put(total).sharding, 3)
    expected = np.array([np.float32(1) / np.float32(3), 65504, -65504], np.float16)
    np.testing.assert_array_equal(np.asarray(mean)[0, 0], expected)


def test_the_mesh_is_of_this_processs_own_devices():
    assert dict(local_mesh(fsdp=2).shape) == {"data": 4, "fsdp": 2}
    assert set(local_mesh().devices.flat) == set(jax.local_devices())
    with pytest.raises(InputError, match=r"its own 8: .* mesh\.fsdp to divide 8"):
        local_mesh(fsdp=3)
