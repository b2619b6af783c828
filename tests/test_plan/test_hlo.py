import pytest

from jaxsed.plan import hlo, hlo_text
from tests.test_plan.programs import PROGRAM, computation, instruction, module


@pytest.fixture(scope="module")
def program():
    return hlo.parse(PROGRAM)


def test_every_line_is_an_instruction(program):
    assert program.entry == "main.5"
    lines = {line.name: line for line in program.computations["main.5"]}
    names = ["p", "fusion.1", "loop", "branch", "reduce.1", "call.1", "kernel"]
    assert list(lines) == names
    fusion = lines["fusion.1"]
    assert fusion.opcode == "fusion" and fusion.calls == ("fused.1",)
    assert fusion.n_bytes == 16 * 8 * 2 + 4 * 4 and fusion.operand_bytes == 4 * 4
    assert fusion.op_name.endswith("attn/qkv/dot_general")
    assert set(lines["loop"].calls) == {"test", "body"} and lines["loop"].trips == 3
    assert lines["branch"].calls == ("small", "large")
    assert lines["reduce.1"].calls == ()


def test_loops_count_as_often_as_they_run_and_the_longer_branch_counts(program):
    assert hlo.cycles(program) == 100 + 3 * (10 + 1) + 7 + 50 + 20
    times = {line.name: count for line, count in hlo.executed(program)}
    assert times["step"] == 3 and times["c"] == 1
    assert "a" not in times and "inner" not in times and "d" not in times


def test_what_is_fused_is_shown_on_demand(program):
    inside = {line.name for line, _ in hlo.executed(program, inside=True)}
    assert "inner" in inside and "d" not in inside


def test_a_kernel_counts_what_its_author_declares(program):
    (kernel,) = hlo.kernels(program)
    assert (kernel.target, kernel.times) == ("tpu_custom_call", 1)
    assert kernel.flops is None and kernel.accessed_bytes == 2 * 4 * 4
    declared = '{"flops":"70","transcendentals":"9","bytes_accessed":"30"}'
    call = 'custom-call(%p), custom_call_target="tpu_custom_call"'
    config = f'backend_config={{"custom_call_config":{{"cost_estimate":{declared}}}}}'
    text = module(
        computation(
            "main", instruction("kernel", "f32[4]", f"{call}, {config}"), entry=True
        )
    )
    (kernel,) = hlo.kernels(hlo.parse(text))
    assert (kernel.flops, kernel.accessed_bytes) == (70, 30)


def test_loops_of_unknown_length_are_counted(program):
    assert hlo.unknown_loops(program) == 0
    endless = module(
        computation("body", instruction("step", "f32[4]", "negate(%p)", cycles=10)),
        computation("test", instruction("less", "pred[]", "compare(%p, %p)")),
        computation(
            "main",
            instruction("loop", "f32[4]", "while(%p), condition=%test, body=%body"),
            entry=True,
        ),
    )
    assert hlo.unknown_loops(hlo.parse(endless)) == 1
    assert hlo.cycles(hlo.parse(endless)) == 10


@pytest.mark.parametrize(
    "shape, size",
    [
        ("f32[]", 4),
        ("bf16[3,5]{1,0:T(8,128)(2,1)}", 30),
        ("pred[7]{0}", 7),
        ("(s4[10]{0}, (u8[2], f8e4m3fn[2]), token[])", 5 + 2 + 2),
        ("f32[0,8]", 0),
    ],
)
def test_size_of_a_type(shape, size):
    assert hlo_text.shape_bytes(shape) == size


def test_something_else_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.parse("module @jit_f {}")
