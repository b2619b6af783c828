import re

import pytest

from jaxsed import cli
from jaxsed.models import sed
from jaxsed.models.operations import Operations
from jaxsed.plan import cost_command
from jaxsed.stages import run_cost
from jaxsed.stages.cost import clip_operations, saved_percent


def lines(capsys, *arguments):
    assert cli.main(["cost", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def counted(compression, targets="clip"):
    model = sed.build("tiny_frame_mn06", 7, compression=compression)
    return clip_operations(model, targets)


OPTIONS = ("tiny_frame_mn06", "--classes", "7")


def test_what_an_encoder_can_have_is_listed(capsys, monkeypatch):
    found = counted("none")
    monkeypatch.setattr(cost_command, "_counted", lambda args, name: found)
    header, *rows = lines(capsys, *OPTIONS)
    assert header.split() == ["compression", "operations", "2x,", "G", "of", "none"]
    names = [row.split()[0] for row in rows]
    assert names[:3] == ["none", "fshift-2", "fshift-4"]
    assert "patch_pi-2" not in names  # it has no patches
    assert rows[0].split()[1:] == [f"{found.total:,}", "0.01", "1.0000"]


def test_phases(capsys):
    arguments = ("--phases", "max_pool-4:5,none:3", "--baseline", "10")
    *table, saved = lines(capsys, *OPTIONS, "--targets", "frames", *arguments)
    assert [row.split()[0] for row in table[1:]] == ["none", "max_pool-4"]
    full, coarse = counted("none", "frames"), counted("max_pool-4", "frames")
    assert table[2].split()[3] == f"{coarse.total / full.total:.4f}"
    percent = saved_percent([(5, coarse), (3, full)], (10, full))
    assert saved == f"saves {percent:.2f} % of 10 epochs without compression"


def test_pretraining(capsys):
    pretraining = ("tiny_ssast", "--head", "masked_patches")
    _, row = lines(capsys, *pretraining, "--compressions", "none")
    once = clip_operations(sed.build("tiny_ssast", 5, head="tokens"))
    assert int(row.split()[1].replace(",", "")) > 2 * 0.99 * once.total
    assert cli.main(["cost", *pretraining, "--xla"]) == 1
    assert "--xla is for models with classes" in capsys.readouterr().err


def test_xla_counts_more(capsys):
    header, row = lines(capsys, "tiny_atst_frame", "--compressions", "none", "--xla")
    assert header.endswith("XLA, G")
    ours, xlas = row.split()[2], row.split()[-1]
    assert float(ours) < float(xlas) < 1.3 * float(ours)


def test_a_run(capsys, monkeypatch, tmp_path):
    per_clip = Operations(10**9)
    one = run_cost.RunCost("", "none", 3000, per_clip, 12.4)
    monkeypatch.setattr(run_cost, "of_run", lambda workdir: [one])
    _, row = lines(capsys, "--run", str(tmp_path))
    assert row.split() == [".", "none", "3,000", "2.00", "6.0", "12"]
    coarse = one._replace(name="phase1_c4", compression="fshift-4")
    monkeypatch.setattr(run_cost, "of_run", lambda workdir: [coarse, one])
    *_, total = lines(capsys, "--run", str(tmp_path))
    assert total.split() == ["all", "6,000", "12.0", "25"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give an encoder, such as ast_s16, or a run"),
        (("beats", "--run", "x"), "give an encoder, such as ast_s16, or a run"),
        (("--run", "nowhere"), "is it the folder of a run?"),
        (("nope",), "unknown encoder 'nope'"),
        ((*OPTIONS, "--baseline", "3"), "--phases and --baseline belong together"),
        (
            (*OPTIONS, "--compressions", "fshift-9"),
            "by a factor of 9: expected a whole",
        ),
        ((*OPTIONS, "--head", "tokens"), "'tokens' needs the summary"),
    ],
)
def test_what_is_refused(capsys, arguments, message):
    assert cli.main(["cost", *arguments]) == 1
    error = capsys.readouterr().err
    assert re.match("jaxsed cost: ", error)
    assert message in error


@pytest.mark.parametrize("phases", ["4-1", "fshift-4:-5", "none:0", "none:nan"])
def test_phases_that_are_spelt_wrongly(capsys, phases):
    with pytest.raises(SystemExit):
        cli.main(["cost", *OPTIONS, "--phases", phases, "--baseline", "3"])
    assert (
        "expected compressions and epochs, such as fshift-4:5"
        in capsys.readouterr().err
    )


def test_a_baseline_of_nothing(capsys):
    with pytest.raises(SystemExit):
        cli.main(["cost", *OPTIONS, "--phases", "none:1", "--baseline", "0"])
    assert "--baseline: 0; expected a number above 0" in capsys.readouterr().err
