"""The rooms of docs/architecture.md: who may import whom, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jaxsed"
LOW = {
    "errors",
    "atomic",
    "dotted",
    "folders",
    "locks",
    "metric_order",
    "audio",
    "labels",
}
TRAINABLE = {"augment", "losses", "optim", "pretext_losses"}
MAY_IMPORT = {
    "errors": set(),
    "atomic": {"errors"},
    "dotted": {"errors"},
    "folders": set(),
    "locks": {"errors"},
    "metric_order": set(),
    "audio": {"errors"},
    "labels": {"errors"},
    "data": LOW,
    "evaluation": LOW,
    "frontends": {"errors"},
    "models": {"errors", "frontends"},
    "weights": {"errors", "atomic", "locks", "frontends", "labels", "models"},
    "augment": {"errors"},
    "losses": {"errors"},
    "pretext_losses": {"errors"},
    "schedules": {"errors"},
    "parameter_rules": {"errors"},
    "optim": {"errors", "parameter_rules", "schedules"},
    "training": {"errors", "atomic", "metric_order"} | TRAINABLE,
    "inference": LOW | {"evaluation", "frontends", "models", "weights"},
    "stages": LOW
    | TRAINABLE
    | {"data", "evaluation", "frontends", "inference", "models", "training", "weights"},
    "tables": LOW | {"evaluation", "training"},
    "main": {"errors", "stages", "training"},
    "plan": LOW | {"data", "main", "models", "optim", "stages", "training", "weights"},
    "scoring": LOW | {"data", "evaluation"},
    "cli": {"errors", "data", "inference", "plan", "scoring", "tables", "weights"},
    "__init__": {"inference"},
}
WITHOUT_JAX = LOW | {"data", "evaluation", "scoring", "tables", "cli"}


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_architecture(path):
    room = room_of(path)
    names = imports_of(path)
    inside = {name.split(".")[1] for name in names if name.startswith("jaxsed.")}
    assert inside - {room} <= MAY_IMPORT[room], "see docs/architecture.md"
    outside = {name.split(".")[0] for name in names}
    assert "torch" not in outside
    if room in WITHOUT_JAX:
        assert not outside & {"jax", "flax", "optax", "orbax"}


def test_loader_and_help_leave_jax_alone():
    code = (
        "import sys, jaxsed, jaxsed.cli, jaxsed.data.pipelines;"
        "slow = {'jax', 'librosa', 'pandas', 'sed_scores_eval', 'matplotlib'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_no_file_is_a_heap():
    long = {
        str(path.relative_to(PACKAGE)): lines
        for path in SOURCES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 320
    }
    assert not long, "split by concept"
