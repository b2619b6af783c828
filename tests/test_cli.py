import io
import subprocess
import sys

import pytest

from jaxsed import cli
from jaxsed.errors import InputError


def test_every_command_has_help(capsys):
    for command in cli.COMMANDS:
        with pytest.raises(SystemExit) as stopped:
            cli.main([command, "--help"])
        assert stopped.value.code == 0
        assert "Exit status" in capsys.readouterr().out


def test_wrong_usage_is_status_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["detekt"])
    assert stopped.value.code == 2
    assert "detect" in capsys.readouterr().err


def test_a_mistyped_option_is_told_with_the_nearest_one(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["detect", "a.wav", "--weights=m", "--out=o", "--treshold=0.3"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: jaxsed detect ")
    assert error.endswith("arguments: --treshold=0.3; did you mean --threshold?\n")


def test_wrong_input_is_one_line_and_status_1(capsys, tmp_path):
    missing = tmp_path / "nowhere"
    arguments = ["prepare", "audioset_strong", str(missing), "--out", str(tmp_path)]
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("jaxsed prepare: ") and str(missing) in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "error, status", [(InputError("no"), 1), (KeyboardInterrupt(), 130)]
)
def test_status_of_what_a_command_raises(monkeypatch, error, status):
    def run(args):
        raise error

    monkeypatch.setattr(cli.COMMANDS["detect"], "run", run)
    assert cli.main(["detect", "a.wav", "--weights", "m", "--out", "o"]) == status


def test_what_the_terminal_cannot_show_is_spelled_out(monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    monkeypatch.setattr(cli.COMMANDS["detect"], "run", lambda args: print("日.wav"))
    cli.main(["detect", "a.wav", "--weights", "m", "--out", "o"])
    assert shown.getvalue().split() == [b"\\u65e5.wav"]


def test_a_reader_that_has_seen_enough_ends_a_command_quietly():
    listing = subprocess.Popen(
        [sys.executable, "-m", "jaxsed.cli", "weights", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    listing.stdout.close()
    assert listing.stderr.read() == ""
    assert listing.wait() == 141  # as a shell reports SIGPIPE
