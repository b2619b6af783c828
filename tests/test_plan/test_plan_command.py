import json

import pytest

from jaxsed import cli
from jaxsed.plan import plan_command
from tests.test_plan.test_report import PLAN

TINY = ["--config=configs/student.py:model=tiny_atst_frame", "--topology=cpu:2"]


def test_a_training_is_planned_for_fake_devices(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("JAXSED_CACHE", str(tmp_path))
    out = tmp_path / "made" / "plan.json"
    settings = ["--config.batch_size=4", "--config.data.clip_seconds=1.0"]
    assert cli.main(["plan", *TINY, *settings, "--json", str(out)]) == 0
    printed, _ = capfd.readouterr()
    assert "cpu:2: 2 (data 1 x fsdp 2)" in printed and "4 clips" in printed
    plan = json.loads(out.read_text())
    memory, work = plan["memory"], plan["work"]
    assert memory["argument_bytes"] < memory["total_bytes"] < 2**30
    # What runs is the model and more, on either device for half of the batch.
    assert work["program_flops"] > 0.4 * work["model_flops"] > 0
    # Of all parameters but the weak head, which a student does not train.
    gradients = plan["collectives"]["all-reduce"]
    assert gradients["n_bytes"] > 0.8 * 4 * plan["model"]["parameters"] > 0
    assert "time" not in plan and plan["classes"]["count"] == 447


@pytest.mark.parametrize("fits", [True, False])
def test_phases_are_planned_one_by_one(fits, monkeypatch, tmp_path, capsys):
    plans = {
        "phase1_c4": {**PLAN, "steps": 5},
        "phase2_c1": {**PLAN, "memory": {**PLAN["memory"], "fits": fits}},
    }
    monkeypatch.setattr(plan_command, "_planned", lambda args, topology: plans)
    out = tmp_path / "plan.json"
    arguments = ["--config=coarse", "--topology=cpu:2", "--json", str(out)]
    assert cli.main(["plan", *arguments]) == (0 if fits else plan_command.DOES_NOT_FIT)
    assert capsys.readouterr().out.startswith("phase1_c4\nmodel ")
    assert json.loads(out.read_text()) == {"phases": plans}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--config.batchsize=8"], "batch_size"),
        (["--config.batch_size=3"], "use a multiple of 2"),
        (["--confg.batch_size=8"], "unknown argument --confg.batch_size=8"),
        (["--topology=v5e:9"], "unknown topology 'v5e:9'"),
        (["--config=configs/studend.py"], "no config file configs/studend.py"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, message, capfd):
    assert cli.main(["plan", *TINY, *arguments]) == 1
    printed, said = capfd.readouterr()
    assert printed == "" and message in said
    assert said.startswith("jaxsed") and len(said.splitlines()) == 1


def test_arguments_of_other_commands_stay_strict(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["weights", "list", "--config.batch_size=3"])
    assert stopped.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err
