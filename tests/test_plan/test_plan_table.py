import pytest

from benchmarks import plan_table
from tests.test_plan.test_report import PLAN

DOCUMENT = f"before\n\n{plan_table.BEGIN}\n{plan_table.END}\n\nafter\n"
KEY = ("student", "beats", "v5e:4x4", "")


def test_a_row_has_every_column():
    row = plan_table.cells(PLAN)
    found = dict(zip(plan_table.COLUMNS[plan_table.N_KEYS :], row, strict=True))
    assert found["memory, GiB"] == "4.0 of 16" and found["step, ms"] == "100.0"
    assert found["MFU"] == "40%" and found["without waiting"] == "50%"
    assert found["where computing goes"] == "encoder/attn (backward) 75%, no name 25%"
    memory = {**PLAN["memory"], "total_bytes": 20 * 2**30, "fits": False}
    refused = {name: PLAN[name] for name in PLAN if name not in ("time", "work")}
    short = plan_table.cells({**refused, "memory": memory})
    assert len(short) == len(row) and short[0] == "20.0 of 16: does not fit"


def test_a_table_is_read_as_it_was_written(tmp_path):
    out = tmp_path / "plan.md"
    out.write_text(DOCUMENT)
    row = plan_table.cells(PLAN)
    other = ("teacher", "beats", "v5e:4x4", "mesh.fsdp=4")
    for key in (KEY, other, KEY):
        plan_table.add(out, key, row)
    text = out.read_text()
    assert plan_table.read(text) == {KEY: row, other: row}
    assert text.startswith("before\n\n") and text.endswith("\n\nafter\n")
    assert list(tmp_path.iterdir()) == [out]


def test_what_is_there_is_not_planned_again(tmp_path, monkeypatch):
    out = tmp_path / "plan.md"
    out.write_text(DOCUMENT)
    planned = []

    def plan(recipe, model, topology, settings):
        planned.append((recipe, model, topology, *settings))
        return None if model == "m2d" else PLAN

    monkeypatch.setattr(plan_table, "plan", plan)
    given = ["--recipes=student", "--models=beats,m2d", "--topologies=v5e:4x4"]
    monkeypatch.setattr("sys.argv", ["plan_table", *given, f"--out={out}"])
    assert plan_table.main() == plan_table.main() == 1  # m2d is refused, twice
    models = [model for _, model, *_ in planned]
    assert models == ["beats", "m2d", "m2d"]
    assert list(plan_table.read(out.read_text())) == [KEY]


def test_a_document_without_a_place_is_left_alone():
    with pytest.raises(ValueError, match="begin of the table"):
        plan_table.written("nothing", {})
