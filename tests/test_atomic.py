import os

import pytest

from jaxsed.atomic import replacing, write_atomically
from jaxsed.errors import InputError


@pytest.mark.parametrize("sole_writer", [False, True])
def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, sole_writer):
    path = tmp_path / ("x" * 255)  # the longest name there is
    write_atomically(path, "ö")
    with replacing(path, sole_writer=sole_writer) as beside:
        beside.write_bytes(b"new")
        assert path.read_bytes() == "ö".encode()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "Full"), KeyError(), SystemExit()])
def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, error):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(type(error)), replacing(path) as beside:
        beside.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_is_on_the_disk_before_it_takes_its_place(
    tmp_path, monkeypatch
):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="file cannot be written: No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    with replacing(path, durable=False) as beside:
        beside.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_who_writes_alone_overwrites_what_a_killed_process_left(tmp_path):
    path = tmp_path / "file"
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        one.write_bytes(b"1")
        other.write_bytes(b"2")
    with replacing(path, sole_writer=True) as before:
        before.write_bytes(b"3")
    with replacing(path, sole_writer=True) as beside:
        assert beside == before
        beside.write_bytes(b"4")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file"):
        write_atomically(tmp_path / "no folder" / "file", b"new")
    path = tmp_path / "no folder" / "nor this" / "file"
    write_atomically(path, b"new", parents=True)
    assert path.read_bytes() == b"new"
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        write_atomically(path / "above" / "file", b"new", parents=True)
