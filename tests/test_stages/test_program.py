"""The same training, whatever computes it: devices, processes, parts, memory."""

import jax
import numpy as np
import pytest

from jaxsed import losses, optim
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.operations import operations
from jaxsed.stages.program import abstract_params, make_loss, make_prepare
from jaxsed.training import sharding
from tests.test_models.shallow import with_one_block
from tests.test_stages import proof
from tests.test_training import several

# Sums over a batch are made in another order where it is cut in other places. Adam makes
# the most of it in the weights of queries and keys, whose gradients are nearly zero in a
# model that has hardly begun to attend to anything.
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def one_device():
    return proof.train(proof.mesh_of(jax.devices()[:1], 1))


def check(found, expected, tolerance=TOLERANCE):
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=tolerance)
    for a, b in zip(jax.tree.leaves(found[1]), jax.tree.leaves(expected[1])):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_the_loss_falls(one_device):
    losses, _ = one_device
    assert losses[-1] < losses[0] - 0.1


def test_eight_devices_compute_what_one_does(one_device):
    check(proof.train(proof.mesh_of(jax.devices(), fsdp=1)), one_device)


def test_parts_of_a_batch_and_less_memory_compute_the_same(one_device):
    mesh = proof.mesh_of(jax.devices()[:2], fsdp=2)
    check(proof.train(mesh, accumulate=4, remat="blocks"), one_device)


def test_two_processes_of_four_devices_compute_what_one_device_does(
    one_device, tmp_path
):
    program = ["-m", "tests.test_stages.proof", str(tmp_path / "found.npz")]
    statuses = several.finish(several.start(program, tmp_path / "log"))
    assert statuses == [0, 0], (tmp_path / "log.1").read_text()
    with np.load(tmp_path / "found.npz") as saved:
        leaves = [saved[f"leaf{i}"] for i in range(len(saved.files) - 1)]
        check((saved["losses"], leaves), one_device)


def test_a_device_transforms_its_own_clips_alone():
    mesh = sharding.make_mesh()
    prepare = make_prepare(sed.build("tiny_atst_frame", 5), {}, mesh)
    batch = {"audio": jax.ShapeDtypeStruct((16, 16000), np.int16)}
    placed = (sharding.batch_sharding(mesh), sharding.replicated(mesh))
    program = jax.jit(prepare, in_shardings=placed).lower(batch, jax.random.key(0))
    assert "all-gather" not in program.compile().as_text()


def products(of_gradients, *frozen):
    """Multiplications of a step's loss, or of its gradients."""
    model = with_one_block(sed.build("tiny_atst_frame", 5))
    shapes = abstract_params(model)
    kept = optim.frozen({"frozen": frozen}, shapes)

    def objective(logits, out, batch):
        return losses.frame_bce(logits, batch["labels"])

    loss_fn = make_loss(model, objective, kept)

    def loss(params, batch):
        return loss_fn(params, batch, jax.random.key(0))[0]

    batch = {
        "mel": jax.ShapeDtypeStruct((1, 101, model.frontend.n_mels), np.float32),
        "labels": jax.ShapeDtypeStruct((1, 25, 5), np.float32),
    }
    computed = jax.grad(loss) if of_gradients else loss
    return operations(computed, shapes, batch).products


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"patchout_part": 0.5}, "patchout=0.5: this encoder cannot do without some"),
        ({"patchout_part": 1.5}, "patchout=1.5: expected a part"),
        ({"remat": "all"}, "unknown remat 'all'"),
    ],
)
def test_what_is_impossible_is_refused_before_anything_is_computed(settings, message):
    model = sed.build("tiny_frame_mn06", 3)
    with pytest.raises(InputError, match=message):
        make_loss(model, None, {}, **settings)


def test_nothing_is_computed_backwards_of_what_is_frozen():
    forward = products(False)
    assert products(True) > 2.5 * forward
    assert products(True, "^encoder/") < 1.01 * forward
