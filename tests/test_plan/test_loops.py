import pytest

from jaxsed.plan import hlo
from tests.test_plan.programs import computation, instruction, module

STATE = "(f32[4]{0}, s32[]{:T(128)})"


def looping(begin=0, stride=2, limit=8, direction="LT", counter="%i", state="tuple"):
    """A loop that takes 5 cycles in a round, and counts as TPU programs do."""
    body = computation(
        "body",
        instruction("x", "f32[4]{0}", "get-tuple-element(%p), index=0"),
        instruction("i", "s32[]{:T(128)}", "get-tuple-element(%p), index=1"),
        instruction("stride", "s32[]{:T(128)}", f"constant({stride})"),
        instruction("y", "f32[4]{0}", "negate(%x)", cycles=5),
        instruction("next", "s32[]{:T(128)}", f"add({counter}, %stride)"),
        instruction("result", STATE, "tuple(%y, %next)"),
    )
    test = computation(
        "test",
        instruction("limit", "s32[]{:T(128)}", f"constant({limit})"),
        instruction("i", "s32[]{:T(128)}", "get-tuple-element(%p), index=1"),
        instruction("less", "pred[]", f"compare(%i, %limit), direction={direction}"),
    )
    main = computation(
        "main",
        instruction("begin", "s32[]{:T(128)}", f"constant({begin})"),
        instruction("copied", "s32[]{:T(128)S(6)}", "copy(%begin)"),
        instruction("state", STATE, f"{state}(%p, %copied)"),
        instruction("loop", STATE, "while(%state), condition=%test, body=%body"),
        entry=True,
    )
    return hlo.parse(module(body, test, main))


@pytest.mark.parametrize(
    "begin, stride, limit, trips",
    [(0, 2, 8, 4), (1, 2, 8, 4), (0, 1, 15, 15), (3, 5, 3, 0), (-2, 1, 2, 4)],
)
def test_loops_between_constants_have_a_length(begin, stride, limit, trips):
    module = looping(begin, stride, limit)
    assert hlo.unknown_loops(module) == 0
    assert hlo.cycles(module) == 5 * trips


@pytest.mark.parametrize(
    "change",
    [{"direction": "NE"}, {"counter": "%x"}, {"stride": 0}, {"state": "fusion"}],
)
def test_other_loops_have_no_known_length(change):
    module = looping(**change)
    assert hlo.unknown_loops(module) == 1
    assert hlo.cycles(module) == 5
