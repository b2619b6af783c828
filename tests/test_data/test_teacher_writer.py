import json

import numpy as np
import pytest

from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary
from tests.test_data.teacher_stores import (
    IDS,
    N_SHARDS,
    TEACHERS,
    C,
    N,
    Stopped,
    T,
    contents,
    logits_of,
    open_writer,
    write,
)


def test_the_mean_of_the_teachers_is_stored(tmp_path):
    write(tmp_path)
    store = TeacherLogits(tmp_path)
    assert (len(store), store.n_frames, store.n_classes) == (N, T, C)
    expected = np.mean([logits_of(name) for name in TEACHERS], axis=0)
    for row, clip_id in enumerate(IDS):
        logits = store.get(clip_id)
        assert logits.dtype == np.float16
        np.testing.assert_allclose(logits, expected[row], rtol=2**-10, atol=1e-6)
    shards = [f"logits-{k:05d}.{kind}" for k in range(3) for kind in ("f16", "json")]
    assert sorted(contents(tmp_path)) == ["ids.json", *shards, "teacher_logits.json"]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_parts_make_the_store_that_one_makes(tmp_path, count):
    write(tmp_path / "one")
    for index in reversed(range(count)):
        write(tmp_path / "parts", part=(index, count))
    assert contents(tmp_path / "parts") == contents(tmp_path / "one")


def test_started_again_with_another_number_of_parts_the_rest_is_shared_anew(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "parts", part=(2, 3))
    with pytest.raises(Stopped):
        write(tmp_path / "parts", part=(0, 3), limit=1)
    writer = open_writer(tmp_path / "parts")
    assert [writer.pending(index, 2) for index in (0, 1)] == [[0], [1]]
    for index in (0, 1):
        write(tmp_path / "parts", part=(index, 2))
    assert contents(tmp_path / "parts") == contents(tmp_path / "one")


@pytest.mark.parametrize("what", ["cut", "gone", "journal"])
def test_a_shard_that_was_cut_off_is_done_again(tmp_path, what):
    write(tmp_path)
    before = contents(tmp_path)
    file = tmp_path / "logits-00001.f16"
    if what == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif what == "gone":
        file.unlink()
    else:
        file.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match=r"1 of 3 shards .* logits-00001\.f16"):
        TeacherLogits(tmp_path)
    assert open_writer(tmp_path).pending() == [1]
    write(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": IDS[:-1]}, "shape"),
        ({"n_frames": T + 1}, "shape"),
        ({"ids": IDS[::-1]}, "clip ids"),
        ({"vocabulary": Vocabulary("x", ("Bell", "Bark", "Drum"))}, "vocabulary"),
        ({"shard_clips": 9}, "shard_clips"),
        ({"data_hash": "e"}, "data"),
        ({"teachers": TEACHERS | {"late": "dd"}}, r"teachers \(late\)"),
        ({"teachers": TEACHERS | {"fpasst_1": "b2"}}, r"teachers \(fpasst_1\)"),
        ({"teachers": dict(reversed(TEACHERS.items()))}, r"teachers \(their order\)"),
    ],
)
def test_a_store_of_something_else_is_not_gone_on_with(tmp_path, changes, message):
    with pytest.raises(Stopped):
        write(tmp_path, limit=3)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=f"begun with other {message}"):
        open_writer(tmp_path, **changes)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("nothing", [{"ids": []}, {"teachers": {}}, {"shard_clips": 0}])
def test_nothing_to_write_is_refused(tmp_path, nothing):
    with pytest.raises(InputError, match="at least one of each"):
        open_writer(tmp_path, **nothing)
    assert not list(tmp_path.iterdir())


def test_what_is_left_is_counted_in_bytes(tmp_path):
    writer = open_writer(tmp_path)
    assert writer.bytes_left() == 2 * N * T * C
    assert writer.sum_bytes() == 4 * 8 * T * C
    with pytest.raises(Stopped):
        write(tmp_path, limit=4)  # a shard of three batches, and a batch
    assert writer.bytes_left() == 2 * (N - 8 - 3) * T * C
    write(tmp_path)
    assert writer.bytes_left() == 0


def test_a_damaged_description_is_named(tmp_path):
    open_writer(tmp_path)
    file = tmp_path / "teacher_logits.json"
    content = json.loads(file.read_text())
    for wrong in ({"format": 1}, {"shape": [3]}, {"teachers": []}, {"shard_clips": 0}):
        file.write_text(json.dumps(content | wrong))
        with pytest.raises(InputError, match=r"format 1|not a store"):
            open_writer(tmp_path)
    file.write_text(json.dumps(content))
    assert open_writer(tmp_path).pending() == list(range(N_SHARDS))


@pytest.mark.parametrize("content", [None, '["clip0", "cl'])
def test_lost_ids_are_named(tmp_path, content):
    open_writer(tmp_path)
    file = tmp_path / "ids.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=r"ids\.json is missing or damaged"):
        open_writer(tmp_path)
