import numpy as np
import pytest

from jaxsed import cli
from jaxsed.weights import download, zoo, zoo_entries
from jaxsed.weights.torch_file_writer import write
from jaxsed.weights.zoo_entries import ENTRIES
from jaxsed.weights.zoo_entry import Entry, Licence
from tests.test_weights import web


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAXSED_WEIGHTS_DIR", raising=False)
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.001)
    return tmp_path / "cache" / "weights"


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A zoo of one checkpoint that can be had and one that cannot."""
    write(tmp_path / "a.pt", {"head.weight": np.zeros(9, np.float32)})
    with web.running() as server:
        entries = tuple(
            Entry(
                *(f"{name}_strong_1", f"{name}.pt", "beats", "strong"),
                Licence("CC BY 4.0", "example.org/licence"),
                urls=(url,),
            )
            for name, url in (
                ("good", server.add("/good.pt", (tmp_path / "a.pt").read_bytes())),
                ("gone", f"http://127.0.0.1:{server.server_port}/gone.pt"),
            )
        )
        monkeypatch.setattr(zoo, "ENTRIES", entries)
        monkeypatch.setattr(zoo_entries, "ENTRIES", entries)
        yield entries


def run(*arguments):
    return cli.main(["weights", *map(str, arguments)])


def test_list_names_all_of_them(capsys):
    assert run("list") == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "NAME"
    assert [row.split()[0] for row in rows[: len(ENTRIES)]] == [e.name for e in ENTRIES]
    beats = rows[0].split()
    assert beats == [
        "BEATs_strong_1",
        "beats",
        "strong",
        "46.5",
        "364",
        "MB",
        "MIT",
        "-",
    ]


def test_list_says_what_is_here(capsys, two, cache, tmp_path):
    run("fetch", "good_strong_1")
    capsys.readouterr()
    assert run("list") == 0
    _, good, gone, *_ = capsys.readouterr().out.splitlines()
    assert good.endswith(str(cache))
    assert gone.endswith("-")
    (tmp_path / "gone.pt").write_bytes(b"x")
    run("list", "--offline-dir", tmp_path)
    assert capsys.readouterr().out.splitlines()[2].endswith(str(tmp_path))


def test_show(capsys, cache):
    assert run("show", "beats_strong_1", "M2D_ssl") == 0
    beats, m2d = capsys.readouterr().out.split("\n\n")
    for text in ("364,091,999 bytes", "46.5", "MIT", str(cache / "BEATs_strong_1.pt")):
        assert text in beats
    assert "https://github.com/fschmid56/PretrainedSED/releases/download" in beats
    assert "NTT's own" in m2d
    assert "recorded at the first fetch" in m2d


def test_fetch_prints_the_path(capsys, two, cache):
    assert run("fetch", "good_strong_1", "GOOD_strong_1") == 0
    output = capsys.readouterr()
    assert output.out == f"{cache / 'good.pt'}\n"
    assert "licence CC BY 4.0" in output.err


def test_fetch_of_some_is_status_3(capsys, two, cache):
    assert run("fetch", "gone_strong_1", "good_strong_1") == 3
    output = capsys.readouterr()
    assert output.out == f"{cache / 'good.pt'}\n"
    assert "gone.pt answers 404" in output.err
    assert f"save it as {cache / 'gone.pt'}" in output.err


def test_fetch_of_none_is_status_1(capsys, two):
    assert run("fetch", "gone_strong_1") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jaxsed weights: gone_strong_1: http://127.0.0.1")


def test_an_unknown_name_is_refused_before_anything_is_fetched(capsys, two, cache):
    assert run("fetch", "good_strong_1", "god_strong_1") == 1
    assert "did you mean 'good_strong_1'" in capsys.readouterr().err
    assert not cache.exists()


def test_wrong_usage_is_status_2():
    for arguments in ([], ["fetch"], ["lst"]):
        with pytest.raises(SystemExit) as stopped:
            run(*arguments)
        assert stopped.value.code == 2
