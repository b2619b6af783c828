"""Programs in the text form of the TPU compiler, small enough to add up by hand."""


def instruction(name, shape, call, cycles=None, op_name="", **config):
    """One line, with the configuration of a backend where there is any."""
    parts = [f"  %{name} = {shape} {call}"]
    if op_name:
        parts.append(f'metadata={{op_name="{op_name}" stack_frame_id=7}}')
    if cycles is not None:
        window = f'"window_config":{{"estimated_cycles":"{cycles}"}}'
        parts.append(f'backend_config={{"flag_configs":[],{window}}}')
    if "trips" in config:
        count = f'"known_trip_count":{{"n":"{config["trips"]}"}}'
        parts.append(f"backend_config={{{count}}}")
    return ", ".join(parts)


def computation(name, *lines, entry=False):
    """A computation of these lines, of which the last is what it gives back."""
    *before, last = lines
    lines = (*before, last.replace("  %", "  ROOT %", 1))
    head = f"{'ENTRY ' if entry else ''}%{name} (p: f32[4]) -> f32[4] {{"
    return "\n".join([head, "  %p = f32[4]{0:T(128)} parameter(0)", *lines, "}", ""])


def module(*computations):
    """The text of a program."""
    head = "HloModule jit_train_step, is_scheduled=true, num_partitions=8"
    return "\n\n".join([head, *computations])


FORWARD = "jit(train_step)/jvp(SoundEventModel)/encoder/block_0/attn/qkv/dot_general"
BACKWARD = FORWARD.replace("jvp(SoundEventModel)", "transpose(jvp(SoundEventModel))")

# Cycles: 100 + 3 * (10 + 1) + max(5, 7) + 50 + 20 = 210.
PROGRAM = module(
    computation(
        "fused.1", instruction("inner", "f32[4]{0}", "add(%p, %p)", cycles=9999)
    ),
    computation("body", instruction("step", "f32[4]{0}", "negate(%p)", cycles=10)),
    computation("test", instruction("less", "pred[]", "compare(%p, %p)", cycles=1)),
    computation("small", instruction("a", "f32[4]{0}", "negate(%p)", cycles=5)),
    computation("large", instruction("b", "f32[4]{0}", "negate(%p)", cycles=7)),
    computation("called", instruction("c", "f32[4]{0}", "negate(%p)", cycles=20)),
    computation("sum", instruction("d", "f32[]", "add(%p, %p)", cycles=888)),
    computation(
        "main.5",
        instruction(
            "fusion.1",
            "(bf16[16,8]{1,0:T(8,128)(2,1)S(1)}, /*index=1*/f32[4]{0:T(128)})",
            "fusion(%p), kind=kOutput, calls=%fused.1",
            cycles=100,
            op_name=FORWARD,
        ),
        instruction(
            "loop", "f32[4]{0}", "while(%p), condition=%test, body=%body", trips=3
        ),
        instruction(
            "branch",
            "f32[4]{0}",
            "conditional(%p, %p, %p), branch_computations={%small, %large}",
        ),
        instruction(
            "reduce.1",
            "f32[]",
            "reduce(%p, %p), dimensions={0}, to_apply=%sum",
            cycles=50,
            op_name=BACKWARD,
        ),
        instruction("call.1", "f32[4]{0}", "call(%p), to_apply=%called"),
        instruction(
            "kernel",
            "f32[4]{0}",
            'custom-call(%p), custom_call_target="tpu_custom_call"',
        ),
        entry=True,
    ),
)
