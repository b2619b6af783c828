"""Key layouts of released PyTorch checkpoints, as tables of rules.

A family of checkpoints is one entry of `FAMILIES`; nothing else knows its keys. Rules
are written once and read in both directions. Layouts are those of the files released
with PretrainedSED (`models/prediction_wrapper.py`). NumPy only.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable

import numpy as np

from jaxsed.errors import InputError


@dataclasses.dataclass(frozen=True)
class Transform:
    """How one array of a checkpoint becomes (part of) one of our parameters.

    Attributes:
        name: For messages and tables.
        forward: From the checkpoint's layout to ours.
        backward: From ours to the checkpoint's.
    """

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    backward: Callable[[np.ndarray], np.ndarray]


def _transposing(name: str, *axes: int) -> Transform:
    inverse = tuple(int(axis) for axis in np.argsort(axes))
    return Transform(name, lambda x: x.transpose(axes), lambda x: x.transpose(inverse))


SAME = Transform("same", lambda x: x, lambda x: x)
# [out, in] to [in, out]
DENSE = _transposing("dense", 1, 0)
# [out, in, mel, time] to [time, mel, in, out]
CONVOLUTION = _transposing("convolution", 3, 2, 1, 0)
# [1, 251, d] to [250, d]; the first row stood for a CLS token that ATST-Frame lacks.
POSITIONS_AFTER_CLS = Transform(
    "positions after CLS",
    lambda x: x[0, 1:],
    lambda x: np.pad(x, ((1, 0), (0, 0)))[None],
)
# [1, 1, d] to [d]
TOKEN = Transform("token", lambda x: x[0, 0], lambda x: x[None, None])
# [1, 2, d] to [2, d]
TOKENS = Transform("tokens", lambda x: x[0], lambda x: x[None])
# [1, d, 1, t] to [t, d]
TIME_POSITIONS = Transform(
    "time positions", lambda x: x[0, :, 0].T, lambda x: x.T[None, :, None]
)
# [1, d, 1, 1] to [d]
FREQUENCY_POSITION = Transform(
    "frequency position", lambda x: x[0, :, 0, 0], lambda x: x[None, :, None, None]
)


def _fpasst_patch(x: np.ndarray) -> np.ndarray:
    # The 16 x 128 inputs are the stem's 64 channels x 32 mel rows in the same order.
    width, channels, rows, frames = x.shape
    x = x.reshape(width, channels * rows // 32, 32, frames)
    return x.transpose(3, 2, 1, 0).reshape(-1, width)


def _fpasst_patch_back(x: np.ndarray) -> np.ndarray:
    width = x.shape[-1]
    x = x.reshape(2, 32, -1, width).transpose(3, 2, 1, 0)
    return x.reshape(width, -1, 128, 2)


# [d, 16, 128, 2] to [2 * 32 * 64, d]
FPASST_PATCH = Transform("fpasst patch", _fpasst_patch, _fpasst_patch_back)


@dataclasses.dataclass(frozen=True)
class Rule:
    """Where the array of a key goes.

    Attributes:
        key: Key in the checkpoint; `{i}` stands for the number of a block or layer.
        path: Our path, `/` between names, `{i}` as in `key`.
        transform: Change of layout.
        slot: For keys that share one of our parameters: position along its first axis
            (recurrent layers stack forwards and backwards).
    """

    key: str
    path: str
    transform: Transform = SAME
    slot: int | None = None

    def numbered(self, index: int) -> "Rule":
        """The rule for block or layer `index`."""
        key, path = (text.replace("{i}", str(index)) for text in (self.key, self.path))
        return dataclasses.replace(self, key=key, path=path)


@dataclasses.dataclass(frozen=True)
class Dropped:
    """Keys that a checkpoint may hold and that are not used.

    Attributes:
        pattern: Regular expression that a whole key matches.
        reason: Why nothing is lost.
    """

    pattern: str
    reason: str


def _affine(key: str, path: str, transform: Transform = DENSE) -> tuple[Rule, Rule]:
    """Rules for `weight` and `bias` of a dense layer or convolution."""
    return (
        Rule(f"{key}.weight", f"{path}/kernel", transform),
        Rule(f"{key}.bias", f"{path}/bias"),
    )


def _norm(key: str, path: str) -> tuple[Rule, Rule]:
    """Rules for a LayerNorm."""
    return Rule(f"{key}.weight", f"{path}/scale"), Rule(f"{key}.bias", f"{path}/bias")


def _block(key: str, qkv_bias: bool) -> tuple[Rule, ...]:
    """Rules for a timm-style transformer block."""
    path = "encoder/block_{i}"
    qkv = _affine(f"{key}.attn.qkv", f"{path}/attn/qkv")
    return (
        *_norm(f"{key}.norm1", f"{path}/norm1"),
        *(qkv if qkv_bias else qkv[:1]),
        *_affine(f"{key}.attn.proj", f"{path}/attn/proj"),
        *_norm(f"{key}.norm2", f"{path}/norm2"),
        *_affine(f"{key}.mlp.fc1", f"{path}/mlp/fc1"),
        *_affine(f"{key}.mlp.fc2", f"{path}/mlp/fc2"),
    )


@dataclasses.dataclass(frozen=True)
class Family:
    """The key layout of an encoder's checkpoints.

    Attributes:
        embedding: Rules of everything that is there once.
        block: Rules of block `{i}`.
        depth: Number of blocks.
        dropped: Known keys that are not used.
    """

    embedding: tuple[Rule, ...]
    block: tuple[Rule, ...]
    depth: int = 12
    dropped: tuple[Dropped, ...] = ()


FAMILIES: dict[str, Family] = {
    "atst_frame": Family(
        embedding=(
            *_affine("model.atst.patch_embed.patch_embed", "encoder/embed/patch"),
            Rule(
                "model.atst.pos_embed", "encoder/embed/positions", POSITIONS_AFTER_CLS
            ),
            *_norm("model.atst.norm_frame", "encoder/norm"),
        ),
        block=_block("model.atst.blocks.{i}", qkv_bias=False),
        dropped=(
            Dropped(
                r"model\.atst\.mask_embed",
                "stands for masked tokens in pre-training only",
            ),
            Dropped(
                r"model\.atst_mel\.mel_transform\..*",
                "window and filterbank, which the front-end computes itself",
            ),
        ),
    ),
    "fpasst": Family(
        embedding=(
            *_affine("model.conv_in_1", "encoder/embed/stem_0", CONVOLUTION),
            *_affine("model.conv_in_2", "encoder/embed/stem_1", CONVOLUTION),
            *_affine("model.conv_in_3", "encoder/embed/stem_2", CONVOLUTION),
            *_affine("model.patch_embed.proj", "encoder/embed/patch", FPASST_PATCH),
            Rule("model.cls_token", "encoder/embed/cls_token", TOKEN),
            Rule("model.dist_token", "encoder/embed/dist_token", TOKEN),
            Rule("model.new_pos_embed", "encoder/embed/token_positions", TOKENS),
            Rule(
                "model.time_new_pos_embed",
                "encoder/embed/time_positions",
                TIME_POSITIONS,
            ),
            Rule(
                "model.freq_new_pos_embed",
                "encoder/embed/frequency_position",
                FREQUENCY_POSITION,
            ),
            *_norm("model.norm", "encoder/norm"),
        ),
        block=_block("model.blocks.{i}", qkv_bias=True),
    ),
}

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
EMBEDDING_AFTER_LSTM = _affine("seq_model.embedding", "sequence/embedding")
RECURRENT_NAME = re.compile(r"(?:seq_model\.rnn\.\w+?_l|sequence/layer_)(\d+)")
STRONG_HEAD = _affine("strong_head", "strong_head")
WEAK_HEAD = _affine("weak_head", "weak_head")


def rules_for(encoder_name: str, names: Iterable[str]) -> list[Rule]:
    """All rules that apply, numbered and in the order of the network.

    The encoder's are always among them; those of sequence model and heads are where
    any of their names occurs, as pre-trained files come without them.

    Args:
        encoder_name: A key of `FAMILIES`.
        names: Keys of a checkpoint, or paths of our parameters.

    Returns:
        One rule for each key of a complete checkpoint.

    Raises:
        InputError: If the encoder has no released checkpoints.
    """
    if encoder_name not in FAMILIES:
        raise InputError(
            f"There is no released checkpoint layout for encoder '{encoder_name}'; "
            f"there are layouts for {', '.join(FAMILIES)}."
        )
    family, names = FAMILIES[encoder_name], set(names)
    rules = list(family.embedding)
    for index in range(family.depth):
        rules += [rule.numbered(index) for rule in family.block]
    layers = [RECURRENT_NAME.match(name) for name in names]
    n_layers = max((int(match[1]) + 1 for match in layers if match), default=0)
    for index in range(min(n_layers, len(names))):  # a silly number asks for no more
        rules += [rule.numbered(index) for rule in RECURRENT_LAYER]
    for optional in (EMBEDDING_AFTER_LSTM, STRONG_HEAD, WEAK_HEAD):
        if any(rule.key in names or rule.path in names for rule in optional):
            rules += optional
    return rules
