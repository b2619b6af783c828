import pytest

from jaxsed.plan import collectives, hlo
from tests.test_plan.programs import computation, instruction, module

TEXT = module(
    computation(
        "async",
        instruction(
            "gather",
            "f32[16]{0}",
            "all-gather(%p), replica_groups=[2,4]<=[8], dimensions={0}",
        ),
    ),
    computation(
        "body",
        instruction("next", "f32[4]{0}", "collective-permute(%p)"),
    ),
    computation("test", instruction("less", "pred[]", "compare(%p, %p)")),
    computation(
        "main",
        instruction("sum", "f32[4]{0}", "all-reduce-start(%p), replica_groups={{0,1}}"),
        instruction("summed", "f32[4]{0}", "all-reduce-done(%sum)"),
        instruction("all", "f32[4]{0}", "all-reduce(%p), replica_groups={}"),
        instruction("g", "f32[16]{0}", "fusion(%p), kind=kCustom, calls=%async"),
        instruction(
            "loop", "f32[4]{0}", "while(%p), condition=%test, body=%body", trips=5
        ),
        entry=True,
    ),
)


def test_collectives_are_counted_wherever_they_are():
    found = collectives.traffic(hlo.parse(TEXT), n_devices=8)
    assert found == {
        # Twice 16 bytes; two devices send half of them twice, eight 7/8 of them twice,
        # and for the latter the program waits.
        "all-reduce": collectives.Traffic(2, 32, 16 + 28, 28),
        "all-gather": collectives.Traffic(1, 64, 48, 0),
        "collective-permute": collectives.Traffic(5, 80, 80, 80),
    }


def test_sums_that_are_rounded_are_gathered_rounded():
    reduced = instruction("sum", "bf16[32]{0}", "all-reduce(%wide)")
    wide = instruction("wide", "f32[32]{0}", "convert(%p)")
    text = module(computation("main", wide, reduced, entry=True))
    found = collectives.traffic(hlo.parse(text), n_devices=8)["all-reduce"]
    assert found == collectives.Traffic(1, 128, 112 + 56, 112 + 56)


def test_a_collective_that_goes_through_several_fusions_is_one():
    gather = "all-gather(%p), channel_id=7, replica_groups=[1,8]<=[8], dimensions={0}"
    parts = [
        computation(f"part.{i}", instruction(f"gather.{i}", "f32[32]{0}", gather))
        for i in range(3)
    ]
    lines = [
        instruction(f"f.{i}", "f32[32]{0}", f"fusion(%p), calls=%part.{i}")
        for i in range(3)
    ]
    text = module(*parts, computation("main", *lines, entry=True))
    found = collectives.traffic(hlo.parse(text), n_devices=8)
    assert found == {"all-gather": collectives.Traffic(1, 128, 112, 0)}


@pytest.mark.parametrize(
    "groups, size",
    [
        ("{{0,1,2},{3,4,5}}", 3),
        ("[2,4]<=[8]", 4),
        ("[4,2]<=[2,4]T(1,0)", 2),
        ("mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", 4),
        ("mesh['data'=4,'fsdp'=2] {'data','fsdp'}", 8),
        ("{}", 8),
    ],
)
def test_devices_of_a_group(groups, size):
    text = module(
        computation(
            "main",
            instruction("sum", "f32[4]", f"all-reduce(%p), replica_groups={groups}"),
            entry=True,
        )
    )
    found = collectives.traffic(hlo.parse(text), n_devices=8)["all-reduce"]
    assert found.sent_bytes == 2 * (16 * (size - 1) // size)
