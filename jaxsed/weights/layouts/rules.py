"""What the tables of rules are made of that say how a PyTorch checkpoint becomes ours.

Rules are written once and read in both directions. NumPy only.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Transform:
    """How one array of a checkpoint becomes (part of) one of our parameters.

    Attributes:
        name: For messages and tables.
        forward: From the checkpoint's layout to ours.
        backward: From ours to the checkpoint's.
        rest: Index of what `forward` leaves out and `backward` makes zero; None if that
            is nothing. It is kept beside a converted model, for the way back.
    """

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    backward: Callable[[np.ndarray], np.ndarray]
    rest: tuple | None = None


def transposing(name: str, *axes: int) -> Transform:
    """Change of the order of axes, as `numpy.transpose`."""
    inverse = tuple(int(axis) for axis in np.argsort(axes))
    return Transform(name, lambda x: x.transpose(axes), lambda x: x.transpose(inverse))


SAME = Transform("same", lambda x: x, lambda x: x)
# [out, in] to [in, out]
DENSE = transposing("dense", 1, 0)
# [out, in, mel, time] to [time, mel, in, out]
CONVOLUTION = transposing("convolution", 3, 2, 1, 0)
# [1, 1, d] to [d]
TOKEN = Transform("token", lambda x: x[0, 0], lambda x: x[None, None])
# [1, 2, d] to [2, d]
TOKENS = Transform("tokens", lambda x: x[0], lambda x: x[None])


@dataclasses.dataclass(frozen=True)
class Rule:
    """Where the array of a key goes.

    Attributes:
        key: Key in the checkpoint; `{i}` stands for the number of a block or layer.
        path: Our path, `/` between names, `{i}` as in `key`.
        transform: Change of layout.
        slot: For keys that share one of our parameters, their place in it, counted
            from 0.
        join: How those are put together: "stack" along a new first axis (recurrent
            layers, forwards and backwards), "concatenate" along the last axis (query,
            key and value), or "same" (copies of one array).
        aliases: Other spellings of `key` that files are found with; `key` is the one
            that is written.
    """

    key: str
    path: str
    transform: Transform = SAME
    slot: int | None = None
    join: str = "stack"
    aliases: tuple[str, ...] = ()

    def numbered(self, index: int) -> "Rule":
        """The rule for block or layer `index`."""
        key, path, *aliases = (
            text.replace("{i}", str(index))
            for text in (self.key, self.path, *self.aliases)
        )
        return dataclasses.replace(self, key=key, path=path, aliases=tuple(aliases))


@dataclasses.dataclass(frozen=True)
class Dropped:
    """Keys that a checkpoint may hold and that are not used.

    Attributes:
        pattern: Regular expression that a whole key matches.
        reason: Why nothing is lost.
    """

    pattern: str
    reason: str


def affine(key: str, path: str, transform: Transform = DENSE) -> tuple[Rule, Rule]:
    """Rules for `weight` and `bias` of a dense layer or convolution."""
    return (
        Rule(f"{key}.weight", f"{path}/kernel", transform),
        Rule(f"{key}.bias", f"{path}/bias"),
    )


def norm(key: str, path: str) -> tuple[Rule, Rule]:
    """Rules for a LayerNorm."""
    return Rule(f"{key}.weight", f"{path}/scale"), Rule(f"{key}.bias", f"{path}/bias")


def block(key: str, qkv_bias: bool) -> tuple[Rule, ...]:
    """Rules for a timm-style transformer block."""
    path = "encoder/block_{i}"
    qkv = affine(f"{key}.attn.qkv", f"{path}/attn/qkv")
    return (
        *norm(f"{key}.norm1", f"{path}/norm1"),
        *(qkv if qkv_bias else qkv[:1]),
        *affine(f"{key}.attn.proj", f"{path}/attn/proj"),
        *norm(f"{key}.norm2", f"{path}/norm2"),
        *affine(f"{key}.mlp.fc1", f"{path}/mlp/fc1"),
        *affine(f"{key}.mlp.fc2", f"{path}/mlp/fc2"),
    )


@dataclasses.dataclass(frozen=True)
class Family:
    """The key layout of an encoder's checkpoints.

    Attributes:
        embedding: Rules of everything that is there once.
        block: Rules of block `{i}`.
        depth: Number of blocks.
        dropped: Known keys that are not used.
        licence: Of the weights.
        head: What of `models.heads.HEADS` gives clips their logits.
        weak_head: Rules of its layer, where that is not `heads.WEAK_HEAD`; the first is
            for what a plain dense layer does not have.
        pretext: Rules of what files have that end with pre-training, beside the encoder.
        derived: From arrays by key of the released layout what those have to hold that are
            no weights, by key: another front-end or geometry shows in them.
    """

    embedding: tuple[Rule, ...]
    block: tuple[Rule, ...]
    depth: int = 12
    dropped: tuple[Dropped, ...] = ()
    licence: str = "MIT (PretrainedSED); the encoder's own licence may add to it"
    head: str = "linear"
    weak_head: tuple[Rule, ...] = ()
    pretext: tuple[Rule, ...] = ()
    derived: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] | None = None


@dataclasses.dataclass(frozen=True)
class External:
    """Checkpoints that an encoder's own authors published, by what differs from ours.

    Attributes:
        encoder: The encoder that is started from them.
        name: What to call them.
        licence: Of the weights.
        dropped: Known keys that are not used, below the encoder's prefix or beside it.
        keys: Keys below the prefix that tell them; None for those of the released
            layout below its own prefix.
        fine_tuned: Pattern of a key that only files have which were fine-tuned on
            AudioSet's clip labels; others are of stage "ssl".
        lacks: Pattern of keys below the released prefix that these files never have, and
            that are drawn.
        adapt: From arrays by key below the prefix, and the whole content of the file,
            to arrays as in the released layout below its prefix (heads by their full
            keys), and notes on that; None where they are the same.
    """

    encoder: str
    name: str
    licence: str
    dropped: tuple[Dropped, ...] = ()
    keys: tuple[str, ...] | None = None
    fine_tuned: str | None = None
    lacks: str | None = None
    adapt: Callable[[Mapping[str, np.ndarray], Any], tuple[dict, list[str]]] | None = (
        None
    )
