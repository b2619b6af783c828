from pathlib import Path

import pytest

from jaxsed.errors import InputError
from jaxsed.training import processes
from tests.test_training import several

TALK = """
import sys
from jaxsed.errors import InputError
from jaxsed.training import processes

place = dict(argument.lstrip("-").split("=") for argument in sys.argv[1:])
index = int(place["process_id"])
processes.join(place["coordinator"], int(place["num_processes"]), index)

def alone():
    assert index == 0
    return {"nested": processes.on_first(lambda: [1.5, "two"])}

print(processes.on_first(alone), processes.from_first(f"said by {index}"))

def refuse():
    raise InputError("no")

def full():
    raise OSError(28, "No space left on device", "/some/file")

for failing in (refuse, full):
    try:
        processes.on_first(failing)
    except InputError as error:
        print("all know:", error)
sys.stdout.flush()
if index == 1:
    processes.abandon("one shard is broken", 5)
while True:  # as in a collective that never comes to its end
    pass
"""


def test_what_one_does_all_know_and_none_is_left_behind(tmp_path):
    program = tmp_path / "talk.py"
    program.write_text(TALK)
    statuses = several.finish(several.start([str(program)], tmp_path / "log"), 60)
    assert statuses == [1, 5]
    for index in (0, 1):
        said = (tmp_path / f"log.{index}").read_text().splitlines()
        assert "{'nested': [1.5, 'two']} said by 0" in said
        assert "all know: no" in said
        assert "all know: /some/file: No space left on device" in said
    last = (tmp_path / "log.0").read_text().splitlines()[-1]
    assert last == "jaxsed: stopped with process 1: one shard is broken"


def test_a_process_alone_needs_nobody():
    assert processes.is_first()
    assert processes.from_first(3) == processes.on_first(lambda: 3) == 3
    with pytest.raises(OSError):
        processes.on_first(lambda: Path("/no/such/file").read_text())


def test_half_a_place_is_refused():
    with pytest.raises(InputError, match="belong together: --process_id missing"):
        processes.join("localhost:1", 2)


def test_an_error_is_one_line():
    assert processes.one_line(InputError("first\nsecond")) == "first"
    assert processes.one_line(ValueError()) == "ValueError"
    assert processes.one_line(OSError(28, "full", "file")) == "file: full"


def test_what_devices_and_disks_say_is_explained():
    full = OSError(28, "No space left on device", "runs/x/model")
    assert processes.explained(full) == "runs/x/model: No space left on device"
    memory = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nmore")
    assert "accumulate=2" in processes.explained(memory)
    assert processes.explained(RuntimeError("a mistake of ours")) is None
