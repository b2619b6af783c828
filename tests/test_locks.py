import subprocess
import sys

import pytest

from jaxsed import locks
from jaxsed.errors import InputError

HOLD = """
import sys
from pathlib import Path
from jaxsed import locks
locks.hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_told_who_the_first_is(holder, tmp_path):
    with pytest.raises(InputError, match=f"in use by process {holder.pid} on "):
        locks.hold(tmp_path)


def test_a_killed_holder_is_no_obstacle(holder, tmp_path):
    holder.kill()
    holder.wait()
    locks.hold(tmp_path)
    assert str(holder.pid) not in (tmp_path / locks.NAME).read_text()


def test_holding_again_is_no_error_also_in_a_folder_made_anew(tmp_path):
    folder = tmp_path / "run"
    for _ in range(2):
        folder.mkdir()
        locks.hold(folder)
        locks.hold(folder)
        assert "process" in (folder / locks.NAME).read_text()
        (folder / locks.NAME).unlink()
        folder.rmdir()


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def refuse(file):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "_lock", refuse)
    locks.hold(tmp_path)
    assert "cannot be locked (Operation not supported)" in caplog.text


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / locks.NAME).mkdir()
    with pytest.raises(InputError, match="cannot be written to"):
        locks.hold(tmp_path)
