"""Key layout of what PretrainedSED puts on top of an encoder (`models/prediction_wrapper.py`)."""

import re

from jaxsed.weights.layouts.rules import DENSE, SAME, Rule, affine

RECURRENT_LAYER = tuple(
    Rule(
        f"seq_model.rnn.{kind}_{theirs}_l{{i}}{suffix}",
        f"sequence/layer_{{i}}/{ours}_{name}",
        transform,
        slot,
    )
    for slot, suffix in enumerate(("", "_reverse"))
    for theirs, ours in (("ih", "input"), ("hh", "hidden"))
    for kind, name, transform in (("weight", "kernel", DENSE), ("bias", "bias", SAME))
)
EMBEDDING_AFTER_LSTM = affine("seq_model.embedding", "sequence/embedding")
RECURRENT_NAME = re.compile(r"(?:seq_model\.rnn\.\w+?_l|sequence/layer_)(\d+)")
STRONG_HEAD = affine("strong_head", "strong_head")
WEAK_HEAD = affine("weak_head", "weak_head")
