import re

import pytest

from jaxsed import cli
from jaxsed.models import sed
from jaxsed.plan import cost_command
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


def test_xla_counts_more(capsys):
    header, row = lines(capsys, "tiny_atst_frame", "--compressions", "none", "--xla")
    assert header.endswith("XLA, G")
    ours, xlas = row.split()[2], row.split()[-1]
    assert float(ours) < float(xlas) < 1.3 * float(ours)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
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


def test_phases_that_are_spelt_wrongly(capsys):
    with pytest.raises(SystemExit):
        cli.main(["cost", *OPTIONS, "--phases", "4-1", "--baseline", "3"])
    assert (
        "expected compressions and epochs, such as fshift-4:5"
        in capsys.readouterr().err
    )
