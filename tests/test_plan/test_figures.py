import pytest

from jaxsed.plan import chips, collectives, figures, hlo
from tests.test_plan.programs import PROGRAM, computation, instruction, module

SLICE = chips.topology("v5e:4x4")
KERNEL = (
    '  %kernel = f32[4]{0} custom-call(%p), custom_call_target="tpu_custom_call", '
    'backend_config={"custom_call_config":{"body":"TUzv","cost_estimate":'
    '{"flops":"98500000000000","transcendentals":"0","bytes_accessed":"8"}}}'
)


def test_a_step_is_computing_and_waiting():
    work = {"model_flops": 16 * 197e12 * 0.25, "accessed_bytes": 819e9 * 0.5}
    traffic = {
        "all-reduce": collectives.Traffic(1, 10**9, 10**9, 10**9),
        "all-gather": collectives.Traffic(3, 10**9, 2 * 10**9, 0),
    }
    program = module(
        computation(
            "main",
            instruction("product", "f32[4]", "negate(%p)", cycles=1_500_000_000),
            KERNEL,
            entry=True,
        )
    )
    found = figures.time(hlo.parse(program), work, traffic, SLICE)
    assert found == pytest.approx(
        {
            "computing": 1.0,
            "kernels": 0.5,
            "waiting": 0.01,  # two links of 50 GB/s at a corner
            "step": 1.51,
            "arithmetic": 0.25,
            "streaming": 0.5,
            "exchanging": 0.03,
            "mfu": 0.25 / 1.51,
            "mfu_computing": 0.25 / 1.5,
        }
    )


def test_doubts_name_what_has_no_estimate():
    time = {"step": 1.0, "kernels": 0.2, "waiting": 0.1, "exchanging": 0.3}
    found = figures.doubts(hlo.parse(PROGRAM), time)
    assert len(found) == 3
    assert "1 kernels (tpu_custom_call)" in found[0] and "200.0 ms" in found[0]
    assert "1 declare none" in found[0]
    assert "100.0 ms of waiting" in found[1]
    assert "200.0 ms of exchange" in found[2]
    free = module(
        computation(
            "main",
            instruction(
                "cast",
                "f32[4]",
                'custom-call(%p), custom_call_target="ConcatBitcast"',
            ),
            entry=True,
        )
    )
    nothing = {"step": 1.0, "kernels": 0.0, "waiting": 0.0, "exchanging": 0.0}
    assert figures.doubts(hlo.parse(free), nothing) == []
    fed = module(
        computation("main", instruction("in", "f32[4]", "infeed(%p)"), entry=True)
    )
    assert "1 transfers" in figures.doubts(hlo.parse(fed), nothing)[0]
