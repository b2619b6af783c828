"""What the parity tests of all encoders share."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed import optim
from jaxsed.frontends.presets import PRESETS
from jaxsed.models import sed
from jaxsed.weights.mapping import from_released, to_released
from tests import goldens, synth
from tests.test_models import teachers


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


def layer_decay_groups(encoder):
    """Number and size of the encoder's parameters at each rate, for a decay of 0.95."""
    encoder = sed.ENCODERS[encoder]("float32")
    mel = jnp.zeros((1, 1, PRESETS[encoder.frontend].n_mels))
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), mel)["params"]
    params = {"encoder": shapes}
    rates = optim.multipliers(params, optim.layer_rules(encoder.layer_names, 0.95))
    groups = {}
    for rate, leaf in zip(jax.tree.leaves(rates), jax.tree.leaves(params)):
        count, size = groups.get(round(rate, 9), (0, 0))
        groups[round(rate, 9)] = (count + 1, size + leaf.size)
    return groups


def golden_layer_decay_groups(model_name):
    """The same of the original's optimiser, whose groups split matrices and vectors."""
    groups = {}
    for group in json.loads(str(goldens.load("ops")[f"lrdecay_groups_{model_name}"])):
        if group["n"] and group["first"].startswith("model."):
            rate = round(group["lr"] / 1e-4, 9)
            count, size = groups.get(rate, (0, 0))
            groups[rate] = (count + group["n"], size + group["size"])
    return groups


def assert_audio_close(golden, logits):
    """Where the float32 front-end bounds it: as far off as the original's own run."""
    error = goldens.strided(golden, "logits", logits) - golden["logits"]
    largest, rms, _ = golden["logits__f32err"]
    assert np.abs(error).max() < 2 * largest
    assert np.sqrt(np.mean(error**2)) < 2 * rms


def assert_float64_close(golden, encoder, model_name, params):
    """All stages in float64, at the float32 rounding of the stored numbers.

    And the teacher's sequence model and heads on top of them, in both types.
    """
    with jax.enable_x64(True):
        model = sed.build(encoder, 447, dtype="float64")
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
        mel = synthetic_mel(model_name).astype(jnp.float64)
        logits, out = jax.jit(model.apply)({"params": params}, mel)
        assert logits.dtype == jnp.float64
        assert_network_close(golden, logits, out, atol=2e-6, block_atol=2e-6)
    if "net_rnn_seq" in golden:
        for dtype in ("float32", "float64"):
            aligned = np.asarray(out["aligned"], dtype)
            teachers.assert_close(golden, f"{model_name}_rnn", aligned)
