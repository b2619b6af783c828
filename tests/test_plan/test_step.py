import jax
import pytest

from configs import common, ssast_pretrain
from jaxsed.data.joined import MIXED
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.plan import step
from jaxsed.stages import phases, train
from jaxsed.training import sharding
from tests.test_data.fakes import N_CLASSES, FakeData, FakeTeacher


def tiny(stage, **changes):
    if stage == "pretrain":
        config = ssast_pretrain.pretraining("tiny_ssast")
    else:
        config = common.training(stage)
        config.model.encoder = "tiny_atst_frame"
    config.batch_size = 8
    config.update_from_flattened_dict(changes)
    return config.to_dict()


@pytest.mark.parametrize(
    "stage, changes",
    [
        ("strong", {}),
        ("strong", {"teacher.logits": "somewhere", "data.clip_seconds": 2.0}),
        ("strong", {"data.wavmix_probability": 0.5, "data.clip_seconds": 1.0}),
        ("weak", {"data.clip_seconds": 0.4}),
        ("pretrain", {}),
    ],
)
def test_batches_are_those_that_the_loader_makes(stage, changes, monkeypatch):
    config = tiny(stage, **changes)
    model = sed.build(n_classes=N_CLASSES, **config["model"])
    task = step.task_of(config)
    monkeypatch.setattr(train, "TeacherLogits", lambda folder: FakeTeacher())
    batches = train.training_data(config, FakeData(), model, task.targets)
    expected = jax.tree.map(lambda x: (x.shape, x.dtype), next(batches))
    found = step.abstract_batch(config, task.targets, model, N_CLASSES)
    assert {name: (x.shape, x.dtype) for name, x in found.items()} == expected
    assert step.clip_bytes(found) == sum(x.nbytes for x in next(batches).values()) // 8


@pytest.mark.parametrize("changes", [{}, {"data.wavmix_probability": 0.5}])
def test_some_clips_without_times_have_a_loss_of_their_own(changes, monkeypatch):
    config = tiny("strong", **changes, **{"data.clip_seconds": 0.4})
    monkeypatch.setattr(step, "are_mixed", lambda folders: True)
    data = FakeData()
    data.manifest, data.knows_times = {"annotation": MIXED}, lambda row: row % 2 == 0
    program, (state, found, key) = step.build(config, N_CLASSES, sharding.make_mesh())
    expected = next(train.training_data(config, data, program.model, "frames"))
    assert {name: (x.shape, x.dtype) for name, x in found.items()} == {
        name: (x.shape, x.dtype) for name, x in expected.items()
    }
    _, measurements = jax.eval_shape(program.train_step, state, found, key)
    assert "clip_bce" in measurements


@pytest.mark.parametrize("stage", ["strong", "weak", "pretrain"])
def test_the_step_takes_what_is_built_for_it(stage):
    config = tiny(stage, **{"data.clip_seconds": 0.4, "mesh.fsdp": 2})
    mesh = sharding.make_mesh(**config["mesh"])
    program, arguments = step.build(config, 5, mesh)
    state, measurements = jax.eval_shape(program.train_step, *arguments)
    after, before = (
        jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
        for tree in (state, program.abstract_state)
    )
    assert after == before
    assert {"loss", "grad_norm", "learning_rate"} <= measurements.keys()


def test_classes_come_from_the_data_or_else_from_the_recipe(tmp_path):
    for stage, count in (("strong", 447), ("weak", 527)):
        config = tiny(stage, **{"data.train": str(tmp_path / "nothing")})
        found, source = step.count_classes(config)
        assert found == count and "nothing" in source
    with pytest.raises(InputError):  # there, but no data
        step.count_classes(tiny("strong", **{"data.train": str(tmp_path)}))


def test_each_phase_is_a_training_and_a_chain_is_none():
    alone = tiny("strong")
    assert step.trainings(alone) == {"": alone}
    coarse = phases.in_phases(alone, "fshift", (4, 1), (2, 3))
    found = step.trainings(coarse)
    assert list(found) == ["phase1_c4", "phase2_c1"]
    assert [training["steps"] for training in found.values()] == [2, 3]
    assert found["phase1_c4"]["model"]["compression"] == "fshift-4"
    for training in found.values():
        assert step.task_of(training).name == "strong"
    with pytest.raises(InputError, match=r"stage=chain has no .* one training"):
        step.task_of(phases.as_chain(coarse))


def test_a_stage_that_trains_nothing_is_refused():
    with pytest.raises(InputError, match="stage=ensemble has no training step"):
        step.task_of({"stage": "ensemble"})


def test_heads_on_stored_frames_need_no_plan():
    with pytest.raises(InputError, match=r"mode=frozen trains heads .* mode=finetune"):
        step.build(tiny("strong", mode="frozen"), 5, sharding.make_mesh())
