"""Recipes in phases: the paper's lengths, and the recipe that is split."""

import pytest

from jaxsed.errors import InputError
from jaxsed.stages import phases
from tests.test_configs import recipe


def test_students_in_phases_keep_the_recipe():
    whole = recipe("student", "model=beats").to_dict()
    config = recipe("student", "model=beats,phases=4-2-1,method=patch_pi").to_dict()
    chain = phases.as_chain(config)
    links = [chain["links"][name] for name in chain["order"]]
    assert [link["model"]["compression"] for link in links] == [
        "patch_pi-4",
        "patch_pi-2",
        "none",
    ]
    # 18, 18 and 84 of 120 epochs of 395 steps.
    assert [link["steps"] for link in links] == [18 * 395, 18 * 395, 84 * 395]
    assert links[0]["init"] == "BEATs_weak" and links[2]["carry"] == "all"
    own = {"steps", "model", "seed", "init", "carry", "prior_bias"}
    for link in links:
        assert {k: v for k, v in link.items() if k not in own} == {
            k: v for k, v in whole.items() if k not in own
        }


def test_coarse_to_fine_has_the_papers_lengths():
    def epochs(text):
        config = recipe("coarse_to_fine", text).to_dict()
        epoch_steps = config["training"]["every"]["evaluate"]
        assert all(steps % epoch_steps == 0 for steps in config["steps"])
        return [steps // epoch_steps for steps in config["steps"]]

    assert epochs("data=audioset,phases=2-1") == [1, 4]
    for name in ("vggsound", "voxceleb", "kinetics_sounds"):
        assert epochs(f"data={name}") == [5, 15]
        assert epochs(f"data={name},phases=4-2-1") == [3, 3, 14]


def test_coarse_to_fine_is_the_recipe_that_it_splits():
    config = recipe("coarse_to_fine", "data=voxceleb,until=0.419,method=avg_pool")
    whole = recipe("ast", "data=voxceleb,stride=16").to_dict()
    until = {"metric": "eval/accuracy", "value": 0.419}
    del whole["steps"], whole["model"]["compression"]
    assert config.training.to_dict() == {**whole, "until": until}
    assert config.method == "avg_pool"
    swin = recipe("coarse_to_fine", "model=htsat,data=audioset").training
    assert (swin.model.encoder, swin.optim.name) == ("htsat", "adamw")
    step2 = recipe("coarse_to_fine", "model=fpasst,data=audioset,batch=64")
    assert (step2.training.patchout, step2.training.batch_size) == (0.3, 64)
    assert recipe("coarse_to_fine").training.data.train == "data/vggsound/train"
    assert recipe("coarse_to_fine", "model=asit") == recipe(
        "coarse_to_fine", "model=asit,data=audioset"
    )
    text = "stage=strong,model=beats,folder=x,logits=y,lr=1e-3,epochs=12"
    frames = recipe("coarse_to_fine", text)
    assert frames.steps == (3 * 395, 9 * 395) and frames.training.optim.max_lr == 1e-3
    assert (
        frames.training.teacher.logits == "y" and frames.training.data.eval == "x/eval"
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("data=vggsond", "did you mean 'vggsound'"),
        ("data=voxceleb,model=htsat", "unknown data of htsat"),
        ("phases=1-4", "phases=1-4"),
        ("stage=strog", "did you mean 'strong'"),
        ("stage=strong,batch=8", "unknown argument 'batch'"),
        ("stage=strong,model=ast", "unknown model 'ast'"),
        ("stage=strong,data=voxceleb", "unknown data of atst_frame, stage strong"),
        ("model=beats,data=vggsound", "unknown data of beats, stage weak 'vggsound'"),
        ("until=49.4", "until=49.4: expected a part of 1"),
        ("phases=1,method=avg_pool", "method=avg_pool does nothing without phases"),
        (
            "data=vggsound,logits=runs/e/logits",
            "logits=runs/e/logits does nothing with",
        ),
        ("data=scenes,model=htsat", "model=htsat does nothing with data=scenes"),
    ],
)
def test_a_mistake_in_coarse_to_fine_is_named(text, message):
    with pytest.raises(InputError, match=message):
        recipe("coarse_to_fine", text)


@pytest.mark.parametrize("stage", ["weak", "strong"])
def test_coarse_to_fine_in_miniature_names_what_it_makes(stage):
    config = recipe("coarse_to_fine", f"data=scenes,stage={stage}").to_dict()
    taught = [] if stage == "weak" else ["teacher", "ensemble"]
    names = ["scenes", *taught, "baseline", "phases"]
    assert list(config["order"]) == names
    baseline, in_phases = (config["links"][n] for n in ("baseline", "phases"))
    assert sum(in_phases["steps"]) == baseline["steps"]
    assert baseline["data"]["train"] == "@/scenes/prepared/train"
    assert bool(baseline["teacher"]["logits"]) == (stage == "strong")
