"""Linear regression: the smallest thing that trains like a stage does."""

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxsed.training import sharding, state, step

BATCH = 16
TRUTH = np.linspace(-1, 1, 4).astype(np.float32)


def batches(size=BATCH):
    def example(k):
        rng = np.random.default_rng(k)
        features = rng.standard_normal((size, 4)).astype(np.float32)
        index = np.arange(size, dtype=np.int32)
        return {"features": features, "target": features @ TRUTH, "index": index}

    return iter(grain.MapDataset.range(10**6).map(example).to_iter_dataset())


def loss_fn(params, batch, key):
    noise = 1e-2 * jax.random.normal(key, batch["target"].shape)
    error = batch["features"] @ params["w"] - batch["target"] + noise
    return jnp.mean(error**2), {"bias": jnp.mean(error)}


def build(mesh, loss=loss_fn, lr=0.05, **options):
    optimizer = optax.adam(lr)
    first = state.create({"w": jnp.zeros(4)}, optimizer)
    abstract = jax.eval_shape(lambda: first)
    shardings = sharding.state_sharding(mesh, abstract)
    train_step = step.make_train_step(
        loss, optimizer, lambda count: lr, mesh, shardings, **options
    )
    return jax.device_put(first, shardings), abstract, shardings, train_step
