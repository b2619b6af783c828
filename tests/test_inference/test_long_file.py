"""What a long file costs in a process of its own: resident memory, as users see it.

`benchmarks/long_file.py` measures two hours.
"""

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


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"
)
def test_resident_memory_does_not_grow_with_the_file(model_folder, tmp_path):
    # The heap settles within the first files; then only the length is new.
    minutes = (7, 7, 28)
    paths = [
        write_sound(tmp_path / f"{place}.wav", 60 * length, 44_100)
        for place, length in enumerate(minutes)
    ]
    command = [sys.executable, "-c", SCRIPT, model_folder, *paths]
    found = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    _, short, long = map(int, found.stdout.split())
    samples_bytes = (28 - 7) * 60 * 16_000 * 4
    assert long - short < samples_bytes / 2
    assert long < 2e9
