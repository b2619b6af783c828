from pathlib import Path

import pytest

from jaxsed import losses, optim, parameter_rules, pretext_losses, schedules
from jaxsed.plan import cache, chips, figures

CONFIG = {
    "stage": "strong",
    "model": {"head": "linear"},
    "data": {"train": ""},
    "teacher": {"logits": "", "weight": 0.9},
}
HERE = chips.topology("cpu:2")


@pytest.fixture
def made(monkeypatch, tmp_path):
    """What is compiled, in place of doing so."""
    calls = []

    def plan(config, topology, n_classes):
        calls.append((config, topology.name, n_classes))
        return {"number": len(calls)}

    monkeypatch.setattr(figures, "plan", plan)
    monkeypatch.setenv("JAXSED_CACHE", str(tmp_path))
    return calls


def test_the_same_plan_is_made_once(made):
    first = cache.planned(CONFIG, HERE)
    assert cache.planned(CONFIG, HERE) == first
    assert first["classes"]["count"] == 447 and "jax" in first["versions"]
    assert len(made) == 1
    assert cache.planned(CONFIG, HERE, fresh=True)["number"] == 2
    assert cache.planned(CONFIG, HERE)["number"] == 2


def test_another_plan_is_another_plan(made, monkeypatch):
    cache.planned(CONFIG, HERE)
    cache.planned(CONFIG, chips.topology("cpu:4"))
    cache.planned({**CONFIG, "stage": "weak", "clip_loss": "bce"}, HERE)
    monkeypatch.setattr(cache, "versions", lambda: {"libtpu": "1"})
    cache.planned(CONFIG, HERE)
    monkeypatch.setattr(cache, "_source_hash", lambda: "edited")
    cache.planned(CONFIG, HERE)
    assert len(made) == 5


def test_a_broken_cache_costs_time_alone(made, tmp_path):
    cache.planned(CONFIG, HERE)
    (entry,) = cache.folder().iterdir()
    entry.write_text('{"number":')
    assert cache.planned(CONFIG, HERE)["number"] == 2
    entry.unlink()
    cache.folder().rmdir()
    cache.folder().write_text("no folder")
    assert cache.planned(CONFIG, HERE)["number"] == 3


@pytest.mark.parametrize(
    "module", [losses, optim, parameter_rules, pretext_losses, schedules]
)
def test_a_plan_is_made_anew_when_what_a_step_is_made_of_changes(module):
    assert Path(module.__file__).name in cache.SOURCES
