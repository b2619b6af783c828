import os

import pytest

from jaxsed.data.speed import LoaderSpeed, available_cores


def measured(workers=8, threads=1, cores=16):
    speed = LoaderSpeed(workers, threads, cores)
    speed.add(clips=28, core_seconds=None, waited_seconds=4.0)  # not to be counted
    for core_seconds in (0.1, 0.3, 0.2):
        speed.add(clips=28, core_seconds=core_seconds, waited_seconds=0.5)
    return speed


def test_clips_a_second_are_those_of_the_latest_batches():
    speed = measured()
    assert speed.clips_per_core_second == pytest.approx(140)
    assert speed.clips_per_second == pytest.approx(1120)
    assert speed.waited_seconds == pytest.approx(5.5)
    for _ in range(64):
        speed.add(clips=1, core_seconds=0.5, waited_seconds=0.0)
    assert speed.clips_per_core_second == pytest.approx(2)


def test_the_report_of_a_loader_that_is_fast_enough():
    assert measured().report(900.0) == (
        "loader: 140 clips/s a core x 8 workers = 1,120 clips/s; the step takes 900 "
        "clips/s"
    )


def test_a_bottleneck_is_told_with_its_remedy():
    assert (
        measured()
        .report(1500.0)
        .endswith(
            "takes 1,500 clips/s: the loader is the bottleneck, raise data.workers (this "
            "machine has 16 cores)"
        )
    )
    busy = measured(workers=20).report(9000.0)
    assert "140 clips/s a core x 16 cores (20 workers) = 2,240 clips/s" in busy
    assert "store 16 kHz flac" in busy and "raise data.workers" not in busy


def test_threads_of_this_process():
    speed = measured(workers=0, threads=2)
    assert "x 2 threads = 280 clips/s" in speed.report(1.0)
    assert "x 1 thread = 140 clips/s" in measured(workers=0, threads=0).report(1.0)


def test_before_any_batch():
    speed = LoaderSpeed(workers=1, threads=1)
    assert speed.clips_per_second is None
    assert speed.report(1.0) == "loader: not measured yet"


def test_cores_are_those_this_process_may_use():
    assert 1 <= available_cores() <= os.cpu_count()
