import json
from pathlib import Path

import pytest

from jaxsed.models import sed
from jaxsed.models.operations import Operations
from jaxsed.stages import pretrain
from jaxsed.stages.cost import clip_operations, saved_percent

GOLDEN = Path(__file__).parent.parent / "golden" / "published_costs.json"
PUBLISHED = json.loads(GOLDEN.read_text(encoding="utf-8"))
COMPRESSIONS = ("none", "fshift-2", "fshift-4", "patch_pi-2", "patch_pi-4")
TRACED = (
    "none",
    "fshift-2",
    "patch_pi-4",
)  # a second or two each; the formula is exact


def ast(compression):
    return sed.build("ast_s16", 527, head="tokens", compression=compression)


@pytest.fixture(scope="module")
def costs():
    """Of the paper's AST."""
    return {name: by_hand(name) for name in COMPRESSIONS}


def by_hand(compression, classes=527, width=768):
    """From sizes: 12 blocks of 12 heads, 8 rows of 64 / C patches, CLS and DIST."""
    method, _, factor = compression.partition("-")
    wider, factor = method.startswith("patch"), int(factor or 1)
    patches = 8 * 64 // factor
    tokens = patches + 2
    values = 16 * 16 * (factor if wider else 1)
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    return Operations(
        products=12 * block + patches * values * width + classes * width,
        scores=12 * 12 * tokens**2,
        norms=(2 * 12 + 1) * tokens * width + width,
    )


@pytest.mark.parametrize("compression", TRACED)
def test_the_program_that_is_trained_is_counted_as_sizes_say(compression):
    assert clip_operations(ast(compression)) == by_hand(compression)


def test_the_paper_s_ast_is_counted_as_its_authors_counted_it(costs):
    profiled = PUBLISHED["operations"]
    assert {name: found.total for name, found in costs.items()} == {
        "none": profiled["narrow C=1"],
        "fshift-2": profiled["narrow C=2"],
        "fshift-4": profiled["narrow C=4"],
        "patch_pi-2": profiled["wide C=2"],
        "patch_pi-4": profiled["wide C=4"],
    }


def test_every_saving_that_was_published(costs):
    """All 55 cells of Tables 2 and 4, to the digit."""
    for table, data, method, factors, epochs, baseline, published in PUBLISHED["rows"]:
        kind = "patch_pi" if method.startswith("patch") else "fshift"
        names = ["none" if factor == 1 else f"{kind}-{factor}" for factor in factors]
        phases = [(n, costs[name]) for n, name in zip(epochs, names, strict=True)]
        found = saved_percent(phases, (baseline, costs["none"]))
        assert f"{found:.2f}" == f"{published:.2f}", (table, data, method)
    assert len(PUBLISHED["rows"]) == 55


def test_the_saving_of_ssast(costs):
    """Table 6: 100,000 steps at C=4 and 500,000 at C=1, instead of 800,000."""
    phases = [(100_000, costs["fshift-4"]), (500_000, costs["none"])]
    assert f"{saved_percent(phases, (800_000, costs['none'])):.2f}" == "34.58"


@pytest.mark.parametrize("factor", [2, 4])
def test_methods_are_the_same_program_within_their_kind(factor):
    encoders = {
        method: ast(f"{method}-{factor}").encoder
        for method in ("fshift", "avg_pool", "max_pool", "patch_bl", "patch_pi")
    }
    assert encoders["fshift"] == encoders["avg_pool"] == encoders["max_pool"]
    assert encoders["patch_bl"] == encoders["patch_pi"] != encoders["fshift"]


def test_the_loss_decides_what_is_needed():
    model = sed.build("tiny_ast_s16", 5, head="tokens")
    of_clips, of_frames = clip_operations(model), clip_operations(model, "frames")
    width = model.encoder.width
    # A summary's norm and logits, or frames spread over 252 label frames, of 250 logits.
    assert of_clips.norms - of_frames.norms == width
    assert of_frames.products - of_clips.products == 252 * 63 * width + 249 * 5 * width


def test_shorter_clips_cost_less_where_the_encoder_takes_them():
    model = sed.build("tiny_atst_frame", 5)
    whole, half = clip_operations(model), clip_operations(model, clip_seconds=5.0)
    assert 0.4 < half.total / whole.total < 0.5


def test_pretraining_takes_two_passes():
    config = {"model": {"head": "masked_patches"}, "pretext": {}}
    task = pretrain.task(config)
    model = sed.build("tiny_ssast", 5, head="masked_patches")
    found = clip_operations(model, None, inputs=task.inputs, draw=task.draw)
    once = clip_operations(sed.build("tiny_ssast", 5, head="tokens"))
    assert found.scores == 2 * once.scores
    assert found.norms == 2 * (once.norms - model.encoder.width)


def test_costs_that_rise():
    one, two = Operations(10**9), Operations(2 * 10**9)
    assert saved_percent([(1, two)], (1, one)) == pytest.approx(-100)


def test_savings_of_small_encoders_are_as_precise():
    full, coarse = Operations(2_521_744), Operations(1_410_736)
    expected = 100 * (1 - (5 * coarse.total / full.total + 3) / 10)
    found = saved_percent([(5, coarse), (3, full)], (10, full))
    assert found == pytest.approx(expected, abs=0.02)
