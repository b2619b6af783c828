import subprocess
import sys

import pytest

from jaxsed import main


def start(*arguments):
    program = [sys.executable, "-m", "jaxsed.main", *arguments]
    return subprocess.run(program, capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("--config=configs/debug.py:beets",), "beets"),
        (("--config=configs/debug.py", "--config.stage=chian"), "'chain'"),
        (("--config=configs/debug.py", "--config.odrer=()"), "order"),
        (("--config=configs/nothing.py",), "configs/nothing.py"),
    ],
)
def test_a_mistake_is_one_readable_line(tmp_path, arguments, expected):
    done = start(*arguments, f"--workdir={tmp_path / 'run'}")
    assert done.returncode != 0
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_half_a_place_among_processes_is_one_line(tmp_path):
    place = ("--coordinator=localhost:1", f"--workdir={tmp_path / 'run'}")
    done = start("--config=configs/debug.py", *place)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "--num_processes and --process_id missing" in done.stderr


def test_what_devices_and_disks_say_is_explained():
    full = OSError(28, "No space left on device", "runs/x/model")
    assert main.explained(full) == "runs/x/model: No space left on device"
    memory = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nmore")
    assert "accumulate=2" in main.explained(memory)
    assert main.explained(RuntimeError("a mistake of ours")) is None
