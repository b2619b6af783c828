import concurrent.futures
import dataclasses
import pickle
import shutil
import zlib
from pathlib import Path

import pytest

from jaxsed.data.row_shards import RowReader, RowShards, check_room
from jaxsed.errors import InputError

ROWS = [bytes([row]) * 4 for row in range(11)]


@dataclasses.dataclass(frozen=True)
class Store(RowShards):
    folder: Path
    origin: dict = dataclasses.field(default_factory=lambda: {"of": "a"})
    n_rows: int = len(ROWS)
    shard_rows: int = 4
    row_bytes: int = 4
    stem = "bytes"
    suffix = "b"
    remedy = "write it again"

    def write(self, shard):
        rows = [ROWS[row] for row in self.rows(shard)]
        self.write_journal(shard, [zlib.crc32(row) for row in rows])
        self.file(shard).write_bytes(b"".join(rows))


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    for shard in (2, 0, 1):
        assert shard in store.unfinished()
        store.write(shard)
    return store


def test_rows_come_back_in_threads_and_from_a_pickle(store):
    reader = pickle.loads(pickle.dumps(RowReader(store)))
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        order = [7, 0, 10, 3, 4, 0] * 20
        assert list(threads.map(reader.read, order)) == [ROWS[row] for row in order]
    assert not store.unfinished() and store.n_shards == 3


@pytest.mark.parametrize("what", ["rows", "journal", "cut", "other"])
def test_a_shard_counts_once_both_files_are_whole_and_of_the_same(store, what):
    journal = store.folder / "bytes-00001.json"
    if what == "rows":
        store.file(1).unlink()
    elif what == "journal":
        journal.write_text("[]")
    elif what == "cut":
        store.file(1).write_bytes(store.file(1).read_bytes()[:-1])
    else:
        dataclasses.replace(store, origin={"of": "b"}).write(1)
    assert store.unfinished() == [1]
    message = r"1 of 3 shards .* bytes-00001\.b; write it again"
    with pytest.raises(InputError, match=message):
        RowReader(store)


def test_a_changed_byte_is_found_when_it_is_read(store):
    reader = RowReader(store)
    content = bytearray(store.file(1).read_bytes())
    content[5] ^= 1
    store.file(1).write_bytes(content)
    assert reader.read(4) == ROWS[4]
    with pytest.raises(InputError, match=r"bytes-00001\.b is damaged at row 5"):
        reader.read(5)
    store.file(0).unlink()
    with pytest.raises(InputError, match="No such file"):
        reader.read(0)


def test_a_disk_that_is_too_small_is_refused(tmp_path):
    check_room(tmp_path, 0)
    with pytest.raises(InputError, match="GB more"):
        check_room(tmp_path, shutil.disk_usage(tmp_path).total + 1)
