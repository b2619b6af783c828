"""Sequence model and heads of the released layouts, apart from their encoders.

For the tests of every encoder: the teacher's head on the label frames that its own
forward pass gave, at the price of the head alone.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models.heads import LinearHead
from jaxsed.models.sequence import SequenceModel
from tests import goldens, synth

# Largest error to the original, for networks in either type.
TOLERANCE = {"float32": 5e-5, "float64": 2e-6}


@functools.lru_cache(maxsize=1)  # 100 M numbers, asked for four times in a row
def drawn_behind_encoder(manifest_name):
    manifest = goldens.manifest(manifest_name)
    keys = {key: manifest[key] for key in manifest if not key.startswith("model.")}
    return synth.synth_state_dict(keys, 0)


def weights_behind_encoder(manifest_name, dtype):
    """Synthetic weights of sequence model and heads, keyed as released."""
    weights = drawn_behind_encoder(manifest_name)
    return {key: jnp.asarray(weights[key], dtype) for key in weights}


def dense(weights, key):
    return {"kernel": weights[f"{key}.weight"].T, "bias": weights[f"{key}.bias"]}


def linear_heads(manifest_name, dtype):
    """Parameters of `strong_head` and `weak_head`."""
    weights = weights_behind_encoder(manifest_name, dtype)
    return {name: dense(weights, name) for name in ("strong_head", "weak_head")}


def recurrent(manifest_name, dtype):
    """Parameters of the sequence model, two layers."""
    weights = weights_behind_encoder(manifest_name, dtype)

    def both_directions(key):
        return jnp.stack([weights[key].T, weights[f"{key}_reverse"].T])

    params = {
        f"layer_{i}": {
            "input_kernel": both_directions(f"seq_model.rnn.weight_ih_l{i}"),
            "input_bias": both_directions(f"seq_model.rnn.bias_ih_l{i}"),
            "hidden_kernel": both_directions(f"seq_model.rnn.weight_hh_l{i}"),
            "hidden_bias": both_directions(f"seq_model.rnn.bias_hh_l{i}"),
        }
        for i in range(2)
    }
    if "seq_model.embedding.weight" in weights:
        params["embedding"] = dense(weights, "seq_model.embedding")
    return params


def assert_close(golden, manifest_name, aligned, prefix="net_rnn_"):
    """Compares sequence model and linear heads on `aligned [2, 250, d]`.

    Args:
        golden: The encoder's goldens.
        manifest_name: With the sequence model, for example "BEATs_rnn".
        aligned: The encoder's label frames (`out["aligned"]`) on the synthetic mel, in
            the type to test.
        prefix: Of the names in `golden`.
    """
    dtype = np.asarray(aligned).dtype.name
    with jax.enable_x64(dtype == "float64"):
        params = recurrent(manifest_name, dtype)
        kind = "bilstm" if "embedding" in params else "bigru"
        width = params["layer_0"]["hidden_kernel"].shape[1]
        model = SequenceModel(kind, width, layers=2, dtype=dtype)
        sequence = jax.jit(model.apply)({"params": params}, aligned)
        heads = linear_heads(manifest_name, dtype)
        head = LinearHead(447)
        logits = head.apply({"params": heads["strong_head"]}, sequence)
        clip = head.apply({"params": heads["weak_head"]}, sequence.mean(axis=1))
        stages = {"seq": sequence, "logits": logits.swapaxes(1, 2), "weak": clip}
        for name, stage in stages.items():
            goldens.assert_close(golden, f"{prefix}{name}", stage, TOLERANCE[dtype])
