"""Key layout of BEATs' checkpoints."""

from jaxsed.weights.layouts.asit import PATCH
from jaxsed.weights.layouts.rules import (
    DENSE,
    SAME,
    Family,
    Rule,
    Transform,
    affine,
    norm,
    transposing,
)

# [out, in, taps] to [taps, in, out]
DIRECTION = transposing("direction of a convolution over time", 2, 1, 0)
# [1, 1, taps] to [taps]
MAGNITUDE = Transform("magnitudes", lambda x: x[0, 0], lambda x: x[None, None])
# [1, heads, 1, 1] to [heads]
HEAD_SCALE = Transform(
    "head scale", lambda x: x[0, :, 0, 0], lambda x: x[None, :, None, None]
)

POSITION = "model.model.encoder.pos_conv.0"
LAYER = "model.model.encoder.layers.{i}"
BLOCK = "encoder/block_{i}"

# PyTorch has saved weight norm under two spellings.
WEIGHT_NORM = (
    Rule(
        f"{POSITION}.parametrizations.weight.original0",
        "encoder/embed/position/magnitude",
        MAGNITUDE,
        aliases=(f"{POSITION}.weight_g",),
    ),
    Rule(
        f"{POSITION}.parametrizations.weight.original1",
        "encoder/embed/position/direction",
        DIRECTION,
        aliases=(f"{POSITION}.weight_v",),
    ),
)

QUERY_KEY_VALUE = tuple(
    Rule(
        f"{LAYER}.self_attn.{part}_proj.{theirs}",
        f"{BLOCK}/attn/qkv/{ours}",
        transform,
        slot,
        join="concatenate",
    )
    for slot, part in enumerate("qkv")
    for theirs, ours, transform in (("weight", "kernel", DENSE), ("bias", "bias", SAME))
)

FAMILY = Family(
    embedding=(
        Rule("model.model.patch_embedding.weight", "encoder/embed/patch/kernel", PATCH),
        *norm("model.model.layer_norm", "encoder/embed/patch_norm"),
        *affine("model.model.post_extract_proj", "encoder/embed/proj"),
        *WEIGHT_NORM,
        Rule(f"{POSITION}.bias", "encoder/embed/position/bias"),
        *norm("model.model.encoder.layer_norm", "encoder/embed/norm"),
    ),
    block=(
        # One table for all blocks, of which files hold a copy for each.
        Rule(
            f"{LAYER}.self_attn.relative_attention_bias.weight",
            "encoder/relative_bias/table",
            slot=0,
            join="same",
        ),
        *QUERY_KEY_VALUE,
        *affine(f"{LAYER}.self_attn.out_proj", f"{BLOCK}/attn/proj"),
        *affine(f"{LAYER}.self_attn.grep_linear", f"{BLOCK}/gate"),
        Rule(f"{LAYER}.self_attn.grep_a", f"{BLOCK}/gate/head_scale", HEAD_SCALE),
        *norm(f"{LAYER}.self_attn_layer_norm", f"{BLOCK}/norm1"),
        *affine(f"{LAYER}.fc1", f"{BLOCK}/mlp/fc1"),
        *affine(f"{LAYER}.fc2", f"{BLOCK}/mlp/fc2"),
        *norm(f"{LAYER}.final_layer_norm", f"{BLOCK}/norm2"),
    ),
)
