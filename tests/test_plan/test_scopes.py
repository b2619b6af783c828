import pytest

from jaxsed.plan import chips, hlo, scopes
from tests.test_plan.programs import BACKWARD, FORWARD, PROGRAM


@pytest.mark.parametrize(
    "op_name, scope, direction",
    [
        (FORWARD, "SoundEventModel/encoder/block_0/attn/qkv", "forward"),
        (BACKWARD, "SoundEventModel/encoder/block_0/attn/qkv", "backward"),
        ("jit(step)/jvp(frontend)/jit(fft)/mul", "frontend", "forward"),
        ("jit(step)/while/body/closed_call/a/b/add", "a/b", "forward"),
        ("jit(f)/transpose(jvp(m))/rematted_computation/m/exp", "m/m", "again"),
        ("", "", "forward"),
    ],
)
def test_scope_of_a_name(op_name, scope, direction):
    assert scopes.scope_of(op_name) == (scope, direction)


def test_parts_add_up_to_the_whole():
    program = hlo.parse(PROGRAM)
    rows = scopes.breakdown(program, clock_hz=1000.0, depth=3)
    assert sum(row.seconds for row in rows) == pytest.approx(
        hlo.cycles(program) / 1000.0
    )
    layer = "SoundEventModel/encoder/block_*"
    assert scopes.Row(layer, "forward", 0.1, 1) in rows
    assert scopes.Row(layer, "backward", 0.05, 1) in rows
    assert rows[0].seconds == max(row.seconds for row in rows)
    by_name = scopes.breakdown(program, 1000.0, depth=3, merge_layers=False)
    assert by_name[0].scope == "SoundEventModel/encoder/block_0"


def test_kernels_are_parts_of_their_scopes():
    program = hlo.parse(PROGRAM)
    chip = chips.CHIPS["v5e"]
    (least,) = (kernel.accessed_bytes / 819e9 for kernel in hlo.kernels(program))
    rows = scopes.breakdown(program, clock_hz=1000.0, chip=chip)
    without = sum(row.seconds for row in scopes.breakdown(program, clock_hz=1000.0))
    assert sum(row.seconds for row in rows) == pytest.approx(without + least, rel=1e-15)


def test_kinds_of_instructions_add_up_to_the_whole():
    program = hlo.parse(PROGRAM)
    kinds = scopes.by_opcode(program, clock_hz=1000.0)
    assert kinds["fusion"] == pytest.approx(0.1)
    assert sum(kinds.values()) == pytest.approx(hlo.cycles(program) / 1000.0)
