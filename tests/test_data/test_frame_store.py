import json

import numpy as np
import pytest

from jaxsed.data.frame_store import DESCRIPTION, StoredFrames
from jaxsed.errors import InputError
from tests.test_data.frame_stores import (
    ARRAYS,
    ENCODER,
    SLICES,
    frames_of,
    make_store,
    write_store,
)


def test_what_is_written_comes_back_slice_by_slice(tmp_path):
    stored = write_store(tmp_path)
    assert len(stored) == SLICES
    for row in (6, 0, 3):
        found = stored[row]
        assert list(found) == [name for name, _ in ARRAYS]
        for name, expected in frames_of([row]).items():
            assert found[name].dtype == np.float16
            np.testing.assert_array_equal(found[name], expected[0])


def test_the_disk_says_what_the_frames_are_of(tmp_path):
    store = write_store(tmp_path).store
    said = json.loads((store.folder / DESCRIPTION).read_text())
    assert said["encoder"] == ENCODER and said["dtype"] == "<f2"
    expected = {"manifest_hash": "h", "clip_seconds": 1.0, "slices": SLICES}
    assert said["data"] == expected
    assert store.folder.name.startswith("tiny-fake-")


@pytest.mark.parametrize(
    "other",
    [
        {"encoder": ENCODER | {"sha256": "fe"}},
        {"data_hash": "g"},
        {"clip_seconds": 2.0},
        {"arrays": ARRAYS[:1]},
    ],
)
def test_frames_of_anything_else_lie_in_a_folder_of_their_own(tmp_path, other):
    store, another = make_store(tmp_path), make_store(tmp_path, **other)
    assert store.folder != another.folder
    assert store.folder == make_store(tmp_path).folder


def test_a_folder_that_says_something_else_is_refused(tmp_path):
    store = make_store(tmp_path)
    store.create()
    store.create()
    file = store.folder / DESCRIPTION
    file.write_text(json.dumps(store.description | {"encoder": {"encoder": "x"}}))
    with pytest.raises(InputError, match="frames of another encoder"):
        store.create()
    file.write_text("{")
    with pytest.raises(InputError, match=r"frames\.json is damaged"):
        store.create()


def test_a_shard_that_is_missing_is_named_and_counted(tmp_path):
    store = write_store(tmp_path).store
    assert store.bytes_left() == 0
    store.file(3).unlink()
    assert store.bytes_left() == store.row_bytes == 2 * (25 * 4 + 3)
    with pytest.raises(InputError, match=r"frames-00003\.rows; run the same command"):
        StoredFrames(store)
