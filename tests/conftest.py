import gc
import os
import sys
from pathlib import Path

import pytest

# Before jax is imported by anything: a laptop's view of a mesh. Eight fake devices let
# every test that wants to build a real one.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("MPLBACKEND", "Agg")
# Most of a test's time is XLA compiling programs that other tests compile as well.
CACHE = Path(__file__).parent.parent / ".pytest_cache" / "xla"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

# Files whose tests take minutes start first: two workers then end together. By time.
LONGEST_FIRST = (
    "test_notebooks.py",
    "test_stages/test_kill.py",
    "test_stages/test_ensemble.py",
    "test_stages/test_preempted.py",
    "test_models/test_beats.py",
    "test_stages/test_train.py",
    "test_stages/test_program.py",
    "test_models/test_m2d.py",
    "test_models/test_asit.py",
    "test_models/test_htsat.py",
    "test_stages/test_phases.py",
    "test_stages/test_weak.py",
    "test_stages/test_pretrain.py",
    "test_inference/test_long_file.py",
    "test_stages/test_teacher_passes.py",
    "test_models/test_ast.py",
    "test_models/test_masked_patches.py",
    "test_inference/test_detector.py",
    "test_models/test_sed.py",
)


def pytest_collection_modifyitems(items):
    tests = Path(__file__).parent
    ranks = {tests / name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


LARGE_BYTES = 3 * 2**30  # two workers, and what they start, beside 8 GiB
STATUS = Path("/proc/self/statm")  # Linux's; its second number are pages in memory


@pytest.fixture(scope="module", autouse=True)
def _programs_of_finished_files_are_let_go():
    yield
    if "jax" in sys.modules and STATUS.exists():
        pages = int(STATUS.read_text().split()[1])
        if pages * os.sysconf("SC_PAGE_SIZE") > LARGE_BYTES:
            sys.modules["jax"].clear_caches()
            gc.collect()
