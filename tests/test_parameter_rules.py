import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed import parameter_rules
from jaxsed.errors import InputError

GOLDEN = Path(__file__).parent / "golden"


def golden(name):
    with np.load(GOLDEN / "ops.npz") as file:
        return json.loads(str(file[name]))


@pytest.mark.parametrize(
    ("model", "before", "after"),
    [
        ("ATST-F", ["mask_embed", "pos_embed", "patch_embed"], ["norm_frame"]),
        (
            "fpasst",
            [
                "cls_token",
                "dist_token",
                "new_pos_embed",
                "freq_new_pos_embed",
                "time_new_pos_embed",
                "conv_in_1",
                "conv_in_2",
                "conv_in_3",
                "patch_embed",
            ],
            ["norm"],
        ),
    ],
)
def test_layer_decay_groups_are_the_originals(model, before, after):
    """Same rates for the same number of parameters as the original's groups."""
    manifest = json.loads((GOLDEN / "manifests" / f"{model}.json").read_text())
    params = {}
    for key, entry in manifest.items():
        parts = key.split(".")
        if parts[0] == "model":
            parts = parts[2 if parts[1] == "atst" else 1 :]  # wrapper's name
            if parts[0] == "blocks":
                parts = [f"block_{parts[1]}", *parts[2:]]
            parts = ["encoder", *parts]
        tree = params
        for part in parts[:-1]:
            tree = tree.setdefault(part, {})
        tree[parts[-1]] = jax.ShapeDtypeStruct(tuple(entry["shape"]), np.float32)
    layers = [*before, *(f"block_{i}" for i in range(12)), *after]
    rates = parameter_rules.multipliers(
        params, parameter_rules.layer_rules(layers, 0.95)
    )
    ours, theirs = {}, {}
    for rate, leaf in zip(
        jax.tree.leaves(rates["encoder"]), jax.tree.leaves(params["encoder"])
    ):
        n, size = ours.get(round(rate, 9), (0, 0))
        ours[round(rate, 9)] = (n + 1, size + int(np.prod(leaf.shape)))
    for group in golden(f"lrdecay_groups_{model}"):
        if group["n"] and group["first"].startswith("model."):
            rate = round(group["lr"] / 1e-4, 9)
            n, size = theirs.get(rate, (0, 0))
            theirs[rate] = (n + group["n"], size + group["size"])
    assert ours == theirs
    assert len(ours) == 12
    assert set(jax.tree.leaves(rates["strong_head"])) == {1.0}


def test_first_rule_decides():
    params = {"a": {"kernel": jnp.ones(1), "bias": jnp.ones(1)}}
    rates = parameter_rules.multipliers(params, [("bias", 2.0), ("^a/", 3.0)])
    assert rates == {"a": {"kernel": 3.0, "bias": 2.0}}


def test_layers_without_numbers_are_one_block_each():
    rules = dict(parameter_rules.layer_rules(("stem", "body", "top"), 0.5))
    assert list(rules.values()) == [0.125, 0.25, 0.5]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("encodr", "'encodr' fits no parameter: .*'encoder/bias'"),
        ("(", "not a regular"),
    ],
)
def test_a_rule_that_says_nothing_is_refused(rule, message):
    params = {"encoder": {"bias": jnp.ones(1)}}
    with pytest.raises(InputError, match=message):
        parameter_rules.multipliers(params, [(rule, 0.0)])
