"""One run, killed and stopped in two processes, finished by one: as if never stopped."""

import json
import os
import signal
import time

import jax
import numpy as np
import pytest

from jaxsed.stages import strong
from jaxsed.training import preemption
from jaxsed.training.logs import read_metrics
from jaxsed.weights import files
from tests.test_training import several

CONFIG = """
import json
from pathlib import Path
from ml_collections import ConfigDict
def get_config():
    return ConfigDict(json.loads(Path({path!r}).read_text()))
"""


@pytest.fixture(scope="module")
def config(small, tmp_path_factory):
    """A config of 12 short steps, the command that runs it, and its folder."""
    settings = small(
        **{"steps": 12, "data.clip_seconds": 1.0, "data.sampling": "balanced"},
        **{"every.log": 1, "every.save": 5, "every.evaluate": 100},
        **{"eval.metrics": ("map",), "eval.batch_size": 8},
        **{"augment.mixup_probability": 0.5},
    )
    folder = tmp_path_factory.mktemp("preempted")
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "config.py").write_text(CONFIG.format(path=str(folder / "config.json")))
    (folder / "run").mkdir()
    # Programs that earlier tests compiled are taken from where those left them.
    (folder / "run" / ".xla").symlink_to(os.environ["JAX_COMPILATION_CACHE_DIR"])
    program = ["-m", "jaxsed.main", f"--config={folder / 'config.py'}"]
    return settings, [*program, f"--workdir={folder / 'run'}"], folder


def last_step(workdir):
    return max((m["step"] for m in read_metrics(workdir / "metrics.jsonl")), default=0)


def wait_until(condition, started):
    while not condition():
        assert all(process.poll() is None for process in started)
        time.sleep(0.02)


def test_killed_preempted_and_finished_by_fewer(config):
    settings, program, folder = config
    workdir = folder / "run"
    started = several.start(program, folder / "killed")
    wait_until(lambda: last_step(workdir) >= 7, started)
    for process in started:
        process.kill()
    several.finish(started)

    # It goes on from step 5; what came later is forgotten as soon as it has joined.
    started = several.start([*program, "--config.mesh.fsdp=4"], folder / "preempted")
    wait_until(lambda: last_step(workdir) == 5, started)
    os.kill(started[1].pid, signal.SIGTERM)  # one is told, both stop
    statuses, said = several.finish(started), (folder / "preempted.0").read_text()
    assert statuses == [preemption.STATUS] * 2, said
    stopped = last_step(workdir)
    assert 5 < stopped <= 12
    assert f"jaxsed: stopped by SIGTERM after step {stopped} of 12" in said
    assert "Traceback" not in said
    assert (workdir / "checkpoints" / str(stopped)).is_dir()

    strong.run(settings, workdir)
    strong.run(settings, folder / "whole")
    runs = (folder / "whole", workdir)
    expected, found = (
        [
            m["train/loss"]
            for m in read_metrics(run / "metrics.jsonl")
            if "train/loss" in m
        ]
        for run in runs
    )
    assert len(found) == 12
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    expected, found = (
        jax.tree.leaves(files.load_model(run / "model")[0]) for run in runs
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
