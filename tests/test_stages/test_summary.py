import pytest

from jaxsed.errors import InputError
from jaxsed.stages import summary
from jaxsed.training.logs import MetricsLog


@pytest.fixture
def metrics(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(0, {"eval/psds1": 0.0})
    log.write(5, {"train/loss": 1.0})
    log.write(10, {"eval/psds1": 0.25, "eval/pauroc": float("nan")})
    log.write(10, {"done": True})
    return tmp_path / "metrics.jsonl"


def test_first_and_last_evaluation(metrics):
    assert summary.evaluation(metrics, "first") == {"psds1": 0.0}
    assert summary.evaluation(metrics, "last") == {"psds1": 0.25, "pauroc": None}


def test_missing_evaluation_names_the_file(tmp_path):
    with pytest.raises(InputError, match="holds no evaluation"):
        summary.evaluation(tmp_path / "metrics.jsonl", "last")


def test_table_reads_as_markdown_and_as_text(metrics):
    rows = [("untrained", {"psds1": 0.0}), ("student", {"psds1": 0.25})]
    table = summary.markdown(rows, ("psds1", "pauroc"))
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == [
        "student",
        "0.250",
        "-",
    ]


def test_run_draws_what_it_says(metrics, scenes, teachers, tmp_path, capsys):
    config = {
        "stage": "summary",
        "rows": (("a model", str(metrics.parent), "last"),),
        "metrics": ("psds1",),
        "model": teachers["t1"],
        "scenes": str(scenes / "audioset_strong"),
        "pictures": 2,
        "threshold": 0.2,
    }
    summary.run(config, tmp_path / "summary")
    assert "0.250" in capsys.readouterr().out
    assert "0.250" in (tmp_path / "summary" / "summary.md").read_text()
    pictures = list((tmp_path / "summary").rglob("*.png"))
    assert len(pictures) == 3
    assert all(picture.read_bytes()[:4] == b"\x89PNG" for picture in pictures)
