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
        # Twice 16 bytes; two devices send half of them twice, eight 7/8 of them twice.
        "all-reduce": collectives.Traffic(2, 32, 16 + 28),
        "all-gather": collectives.Traffic(1, 64, 48),
        "collective-permute": collectives.Traffic(5, 80, 80),
    }
