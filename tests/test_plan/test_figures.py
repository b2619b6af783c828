import jax
import pytest

from jaxsed.plan import chips, collectives, compile, figures, hlo, report
from tests.test_plan.programs import PROGRAM, computation, instruction, module
from tests.test_plan.test_step import tiny

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


@pytest.fixture
def planned(monkeypatch):
    """A function that plans a tiny training for v5e:2x2, whatever the compiler does."""
    config = tiny("strong", **{"data.clip_seconds": 0.4, "steps": 900})
    monkeypatch.setattr(compile, "devices", lambda topology: jax.devices()[:4])

    def plan(compile_for):
        monkeypatch.setattr(compile, "compile_for", compile_for)
        return figures.plan(config, chips.topology("v5e:2x2"), n_classes=5)

    return plan


def test_a_plan_is_for_the_whole_training(planned):
    def compile_for(devices, function, *arguments):
        assert len(devices) == 4 and callable(function)
        sizes = dict.fromkeys(("argument_bytes", "output_bytes", "alias_bytes"), 2**30)
        rest = {"temporary_bytes": 2**32, "code_bytes": 0, "seconds": 1.0}
        work = {"flops": 1e6, "accessed_bytes": 8.19e8}
        return compile.Compiled(text=PROGRAM, **sizes, **rest, **work)

    plan = planned(compile_for)
    assert plan["memory"]["total_bytes"] == 2**30 + 2**32 and plan["memory"]["fits"]
    step = plan["time"]["step"]
    assert step == pytest.approx(hlo.cycles(hlo.parse(PROGRAM)) / 1.5e9, rel=1e-3)
    assert plan["time"]["streaming"] == pytest.approx(1e-3)
    assert sum(part["seconds"] for part in plan["parts"]) == pytest.approx(step)
    training, loader = plan["training"], plan["loader"]
    assert training["clips_per_second"] == pytest.approx(8 / step)
    assert training["hours"] == pytest.approx(900 * step / 3600)
    assert training["device_hours"] == pytest.approx(4 * training["hours"])
    assert loader["devices_per_host"] == 4 and plan["hosts"] == 1
    # int16 audio at 16 kHz, two int32, and uint8 labels of 10 frames.
    clip_bytes = 2 * 6400 + 8 + 10 * 5
    per_second = loader["clips_per_second_per_host"] * clip_bytes
    assert loader["bytes_per_second_per_host"] == pytest.approx(per_second)
    full = {**plan, "classes": {"count": 5, "from": "data"}, "versions": {"jax": "1"}}
    assert "fits" in report.text(full) and "900 steps" in report.text(full)


def test_what_does_not_fit_has_no_time(planned):
    def compile_for(devices, function, *arguments):
        raise compile.OutOfMemory(20 * 2**30)

    plan = planned(compile_for)
    memory = {"device_bytes": 16 * 2**30, "total_bytes": 20 * 2**30, "fits": False}
    assert plan["memory"] == memory
    assert "time" not in plan and "work" not in plan
    said = report.text({**plan, "classes": {"count": 5, "from": "data"}})
    assert "20.00 GiB of 16.00 GiB: DOES NOT FIT" in said
