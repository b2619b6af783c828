import tracemalloc
import zipfile

import numpy as np
import pytest

from jaxsed.data.index import INDEX, read_index, write_index
from jaxsed.errors import InputError

CLIPS = [
    {"id": "a", "duration": 10.0, "events": [[0.5, 2.0, 3], [1.0, 1.5, 0]]},
    {"id": "bü", "duration": 0.25, "events": []},
    {"id": "c" * 40, "duration": 7.5, "events": [[0.0, 7.5, 1]]},
]


def columns_of(index):
    return {name: list(getattr(index, name)) for name in index._fields}


EXPECTED = {
    "ids": ["a", "bü", "c" * 40],
    "durations": [10.0, 0.25, 7.5],
    "shard": [0, 0, 1],
    "row": [0, 1, 0],
    "first_event": [0, 2, 2, 3],
    "onsets": [0.5, 1.0, 0.0],
    "offsets": [2.0, 1.5, 7.5],
    "labels": [3, 0, 1],
}


@pytest.fixture
def folder(tmp_path):
    write_index(tmp_path, iter(CLIPS), shard=[0, 0, 1], row=iter([0, 1, 0]))
    return tmp_path


def test_everything_comes_back(folder):
    index = read_index(folder)
    assert columns_of(index) == EXPECTED
    assert [child.name for child in folder.iterdir()] == [INDEX]


def test_it_is_an_archive_of_plain_arrays(folder):
    with np.load(folder / INDEX, allow_pickle=False) as archive:
        assert not any(archive[name].dtype.hasobject for name in archive.files)
        assert archive["durations"].tolist() == EXPECTED["durations"]


def test_arrays_are_mapped_and_lie_well(folder):
    index = read_index(folder)
    for column in (index.ids.utf8, index.ids.first_byte, *index[1:]):
        assert not column.flags.owndata and not column.flags.writeable
        assert column.ctypes.data % 64 == 0


def test_opening_takes_no_memory(tmp_path):
    clip = {"duration": 10.0, "events": [[0.0, 1.0, 0]] * 2}
    n = 50_000
    clips = ({**clip, "id": f"clip{i:012d}_30000"} for i in range(n))
    write_index(tmp_path, clips, range(n), range(n))
    tracemalloc.start()
    index = read_index(tmp_path)
    assert index.ids[n - 1] == f"clip{n - 1:012d}_30000"
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / INDEX).stat().st_size > 90 * n
    assert peak_bytes < 40 * n


def test_an_index_without_clips(tmp_path):
    write_index(tmp_path, [], [], [])
    assert len(read_index(tmp_path).ids) == 0


def test_an_index_as_it_was_written_before(tmp_path):
    columns = {**EXPECTED, "ids": np.array(EXPECTED["ids"], np.str_)}
    np.savez(tmp_path / INDEX, **columns)
    assert columns_of(read_index(tmp_path)) == EXPECTED


def change(folder, **columns):
    with np.load(folder / INDEX) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays = {**arrays, **columns}
    np.savez(folder / INDEX, **{name: a for name, a in arrays.items() if a is not None})


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"labels": None}, "no column 'labels'"),
        ({"durations": np.zeros(2)}, "columns of clips differ"),
        ({"onsets": np.zeros(2)}, "columns of events differ"),
        ({"id_utf8": np.zeros(2, np.uint8)}, "bytes of text"),
        ({"labels": np.array([{}, {}, {}])}, "holds objects"),
    ],
)
def test_columns_that_do_not_fit(folder, columns, reason):
    change(folder, **columns)
    with pytest.raises(InputError, match=rf"index\.npz is damaged .*{reason}"):
        read_index(folder)


def test_a_compressed_archive(folder):
    with np.load(folder / INDEX) as archive:
        np.savez_compressed(folder / INDEX, **dict(archive))
    with pytest.raises(InputError, match="is compressed"):
        read_index(folder)


def test_flipped_bits(folder):
    content = bytearray((folder / INDEX).read_bytes())
    with zipfile.ZipFile(folder / INDEX) as archive:
        end_of_rows = archive.getinfo("first_event.npy").header_offset
    content[end_of_rows - 1] ^= 1
    (folder / INDEX).write_bytes(content)
    with pytest.raises(InputError, match=r"checksum of row\.npy"):
        read_index(folder)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 nonsense", b"\x80\x04N."])
def test_not_an_archive(tmp_path, content):
    if content is not None:
        (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(InputError, match=r"index\.npz is damaged"):
        read_index(tmp_path)


def test_a_cut_archive(folder):
    content = (folder / INDEX).read_bytes()
    (folder / INDEX).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"index\.npz is damaged"):
        read_index(folder)
