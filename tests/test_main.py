import signal
import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest
from absl import flags

from jaxsed import main
from jaxsed.errors import InputError, PartlyDone
from jaxsed.training import preemption


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


def test_the_config_file_may_follow_a_space():
    main._check_config_file(["jaxsed", "--config", "configs/debug.py:fpasst"])
    with pytest.raises(InputError, match=r"no config file nothing\.py"):
        main._check_config_file(["jaxsed", "--config", "nothing.py", "--workdir=run"])


def test_a_folder_without_a_name_is_refused():
    try:
        with pytest.raises(flags.IllegalFlagValueError, match="expected a folder"):
            flags.FLAGS.workdir = ""
    finally:
        flags.FLAGS["workdir"].value = None


def test_half_a_place_among_processes_is_one_line(tmp_path):
    place = ("--coordinator=localhost:1", f"--workdir={tmp_path / 'run'}")
    done = start("--config=configs/debug.py", *place)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "--num_processes and --process_id missing" in done.stderr


@pytest.mark.parametrize(
    "ends, status, said",
    [
        (PartlyDone("1 of 6 cells failed"), 3, "1 of 6 cells failed"),
        (preemption.Stopped(), 75, "stopped by SIGTERM; the same command goes on from"),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on from here"),
    ],
)
def test_how_a_run_ended_is_its_status(monkeypatch, capsys, ends, status, said):
    def run_config(config, workdir):
        assert signal.getsignal(signal.SIGTERM) != before
        raise ends

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # put back
    no_flag = SimpleNamespace(value=None)
    config = SimpleNamespace(value=SimpleNamespace(to_dict=dict))
    for name in ("COORDINATOR", "NUM_PROCESSES", "PROCESS_ID", "MULTIHOST"):
        monkeypatch.setattr(main, name, no_flag)
    monkeypatch.setattr(main, "CONFIG", config)
    monkeypatch.setattr(main, "WORKDIR", SimpleNamespace(value="run"))
    monkeypatch.setattr(main, "run_config", run_config)
    try:
        assert main.main(["jaxsed"]) == status
    finally:
        signal.signal(signal.SIGTERM, before)
    error = capsys.readouterr().err
    assert error.startswith(f"jaxsed: {said}") and error.count("\n") == 1


def test_programs_are_kept_in_the_run_unless_the_environment_says_where(
    tmp_path, monkeypatch
):
    said = jax.config.jax_compilation_cache_dir
    nothing = {"stage": "chain", "order": (), "links": {}}
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(said))
    main.run_config(nothing, tmp_path / "a")
    assert jax.config.jax_compilation_cache_dir == said
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    try:
        main.run_config(nothing, tmp_path / "b")
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "b" / ".xla")
    finally:
        jax.config.update("jax_compilation_cache_dir", said)
