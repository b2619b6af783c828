"""What the parity tests of all encoders share."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models import sed
from jaxsed.weights.mapping import from_released, to_released
from tests import goldens, synth


def waves():
    """The two golden clips, float32 [2, 160000]."""
    audio = goldens.load("audio")["audio"]
    return jnp.asarray(np.stack([synth.waveform(clip) for clip in audio]))


def synthetic_mel(model_name):
    """Network input without front-end rounding, float32 [2, t, f]."""
    return jnp.asarray(synth.synth_mel(model_name)[:, 0].swapaxes(1, 2))


def released_params(encoder, manifest_name):
    """Synthetic weights, written in the released key layout and mapped to ours."""
    return from_released(
        encoder, synth.synth_state_dict(goldens.manifest(manifest_name), 0)
    )


def assert_network_close(golden, logits, out, atol, block_atol, prefix="net_"):
    """Compares all stages of a forward pass with the original's."""
    stages = {
        "patch": out["patch"],
        "block0": out["block_0"],
        "block5": out["block_5"],
        "block11": out["block_11"],
        "seq": out["frames"],
        "seq250": out["aligned"],
        "logits": logits.swapaxes(1, 2),
        "weak": out["clip_logits"],
    }
    for name, stage in stages.items():
        tolerance = block_atol if name.startswith("block") else atol
        goldens.assert_close(golden, f"{prefix}{name}", stage, tolerance)


def golden_gradients(encoder, model_name, params):
    """Loss and gradients of the golden training example, in the released layout."""
    model = sed.build(encoder, 447)
    labels, pseudo = (jnp.asarray(x.T[None]) for x in synth.synth_targets())

    def bce(logits, targets):
        return jnp.mean(jnp.logaddexp(0, logits) - logits * targets)

    def loss_fn(params, mel):
        logits, _ = model.apply({"params": params}, mel)
        return 0.9 * bce(logits, pseudo) + 0.1 * bce(logits, labels)

    mel = synthetic_mel(model_name)[:1]
    # Run once: compiling with all optimisations takes ten times as long as running.
    compiled = jax.jit(
        jax.value_and_grad(loss_fn),
        compiler_options={"xla_backend_optimization_level": 0},
    )
    loss, gradients = compiled(params, mel)
    return loss, to_released(encoder, gradients)


def assert_gradients_close(golden, loss, gradients):
    """Errors below 1e-4 of each gradient's largest element."""
    np.testing.assert_allclose(loss, golden["grad_loss"][0], atol=1e-5)
    for index, key in enumerate(golden["grad_keys"]):
        ours = gradients[str(key)].ravel()[golden["grad_index"][index]]
        largest = golden["grad_absmax"][index]
        np.testing.assert_allclose(
            ours,
            golden["grad_value"][index],
            rtol=0,
            atol=1e-4 * largest,
            err_msg=str(key),
        )
        norm = np.linalg.norm(gradients[str(key)].astype(np.float64))
        np.testing.assert_allclose(norm, golden["grad_l2"][index], rtol=1e-4)
