import pytest

from jaxsed.weights import fresh

STRONG, WEAK = fresh.HEADS


@pytest.mark.parametrize(
    "head, drawn, of_frames, of_clips",
    [
        ("linear", [], [], []),
        ("linear", [WEAK], [], [WEAK]),
        ("tokens", [STRONG], [STRONG], []),
        ("attention", [STRONG, WEAK], [STRONG], [STRONG, WEAK]),
        ("attention", [WEAK], [], [WEAK]),
        ("token_semantic", [WEAK], [WEAK], [WEAK]),
    ],
)
def test_a_head_makes_a_guess_of_what_passes_through_it(
    head, drawn, of_frames, of_clips
):
    made = {f"{name}/kernel": "drawn with seed 0" for name in drawn}
    description = {"head": head, "provenance": {"fresh": made}}
    assert fresh.guessing_heads(description) == of_frames
    assert fresh.guessing_heads(description, "clip") == of_clips


def test_what_is_copied_is_no_guess():
    copied = {f"{WEAK}/kernel": f"copy of {STRONG}/kernel"}
    assert not fresh.guessing_heads({"provenance": {"fresh": copied}}, "clip")
    assert not fresh.guessing_heads({"provenance": {"seed": 1}})
