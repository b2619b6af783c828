import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed import losses
from jaxsed.training import accumulation, sharding
from tests.test_training import toy

KEY = jax.random.key(0)


@pytest.mark.parametrize("fsdp", [1, 4])
def test_parts_of_a_batch_have_its_mean(fsdp):
    mesh = sharding.make_mesh(fsdp=fsdp)
    batch = sharding.put_batch({"x": np.arange(32.0)}, mesh)

    def mean(part, key):
        assert part["x"].shape == (8,)
        return {"mean": jnp.mean(part["x"]), "square": jnp.mean(part["x"] ** 2)}

    run = jax.jit(lambda b: accumulation.mean_over_parts(mean, b, KEY, 4, mesh))
    found = run(batch)
    assert float(found["mean"]) == np.mean(np.arange(32.0))
    assert float(found["square"]) == np.mean(np.arange(32.0) ** 2)


def test_every_device_has_its_share_of_each_part():
    """Otherwise a step would send the batch round all devices."""
    mesh = sharding.make_mesh()
    batch = sharding.put_batch({"x": np.zeros((32, 3), np.float32)}, mesh)

    def mean(part, key):
        return jnp.sum(part["x"] ** 2, axis=1)

    run = jax.jit(lambda b: accumulation.mean_over_parts(mean, b, KEY, 4, mesh))
    program = run.lower(batch).compile().as_text()
    assert not any(name in program for name in ("all-to-all", "all-gather", "permute"))


def test_parts_have_keys_of_their_own():
    mesh = sharding.make_mesh()
    batch = {"x": np.zeros(32, np.float32)}

    def draw(part, key):
        return jax.random.uniform(key)

    found = accumulation.mean_over_parts(draw, batch, KEY, 2, mesh)
    drawn = [jax.random.uniform(jax.random.fold_in(KEY, part)) for part in (0, 1)]
    np.testing.assert_allclose(found, np.mean(drawn), rtol=1e-6)
    assert drawn[0] != drawn[1]


def test_what_is_logged_of_some_clips_is_their_mean_however_parts_share_them():
    """As with folders that take turns in a batch, which parts then part."""

    def measured(batch, key):
        return losses.frame_or_clip_bce(**batch)[1]

    mesh = sharding.make_mesh()
    logits = np.arange(-8, 8, dtype=np.float32)
    batch = {
        "logits": logits[:, None, None],
        "labels": np.zeros((16, 1, 1), np.float32),
        "clip_logits": logits[:, None],
        "clip_labels": np.ones((16, 1), np.float32),
        "times_known": np.arange(16) % 2 == 0,
    }

    @jax.jit
    def logged(batch):
        return [
            accumulation.mean_over_parts(measured, batch, KEY, n_parts, mesh)
            for n_parts in (1, 2)
        ]

    whole, parts = (losses.mean_over_steps([found]) for found in logged(batch))
    for name in ("label_bce", "clip_bce", "times_part"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-6)


def test_a_step_in_parts_is_the_step():
    def quiet(params, batch, key):
        loss = jnp.mean((batch["features"] @ params["w"] - batch["target"]) ** 2)
        return loss, {"bias": loss}

    mesh = sharding.make_mesh()
    found = []
    for parts in (1, 2):
        state, _, _, train_step = toy.build(mesh, quiet, accumulate=parts)
        batches = toy.batches()
        for _ in range(5):
            batch = sharding.put_batch(next(batches), mesh)
            state, measurements = train_step(state, batch, KEY)
        found.append(
            (state.params["w"], measurements["loss"], measurements["grad_norm"])
        )
    for whole, parts in zip(*found):
        np.testing.assert_allclose(whole, parts, rtol=1e-5)
