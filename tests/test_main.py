import subprocess
import sys

import pytest


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
