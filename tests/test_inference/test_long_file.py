"""What a long file costs in a process of its own: resident memory, as users see it.

`benchmarks/long_file.py` measures two hours.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_inference.sounds import write_sound

SCRIPT = r"""
import re, sys, jaxsed
from jaxsed.inference import report

def peak_bytes():
    # Not getrusage: a process starts with the peak of the one that forked it.
    status = open("/proc/self/status").read()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])

detector = jaxsed.load(sys.argv[1])
for path in sys.argv[2:]:
    report.draw_file(detector, path, path + ".png")
    print(peak_bytes())
"""


# What is in use, not what the heap keeps: one heap, and large arrays outside of it.
# With glibc's own settings the peak creeps up by some 100 MB over the first hundred
# files, short or long, and then stays.
PLAIN_HEAP = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"
)
def test_resident_memory_does_not_grow_with_the_file(model_folder, tmp_path):
    # All is compiled and loaded within the first file; then only the length is new.
    minutes = (7, 7, 28)
    paths = [
        write_sound(tmp_path / f"{place}.wav", 60 * length, 44_100)
        for place, length in enumerate(minutes)
    ]
    command = [sys.executable, "-c", SCRIPT, model_folder, *paths]
    found = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        env=os.environ | PLAIN_HEAP,
    )
    assert found.returncode == 0, found.stderr
    _, short, long = map(int, found.stdout.split())
    samples_bytes = (28 - 7) * 60 * 16_000 * 4
    assert long - short < samples_bytes / 2
    assert long < 2e9
