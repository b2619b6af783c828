"""From encoder frames to label frames, and from those to class logits."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models.blocks import layer_norm
from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.pooling import attention_pool
from jaxsed.models.resize import bilinear_matrix
from jaxsed.models.token_semantic import TokenSemanticHead
from jaxsed.models.tokens import before

TOKENS_EPSILON = 1e-5  # PyTorch's default, in `mlp_head` of AST's `ast_models.py`


def align(frames: jax.Array, n_frames: int) -> jax.Array:
    """Resamples a sequence in time: averages it when longer, interpolates when shorter.

    PyTorch's `adaptive_avg_pool1d` and `interpolate(mode="linear")`, as in
    PretrainedSED's `models/prediction_wrapper.py`.

    Args:
        frames: `[b, s, d]`.
        n_frames: Number of frames wanted.

    Returns:
        `[b, n_frames, d]`; `frames` itself where the number is right already.
    """
    length = frames.shape[1]
    if length == n_frames:
        return frames
    weights = average_matrix if length > n_frames else bilinear_matrix
    matrix = jnp.asarray(weights(length, n_frames), frames.dtype)
    return jnp.einsum(
        "ns,bsd->bnd", matrix, frames, precision=jax.lax.Precision.HIGHEST
    )


def time_mean(frames: jax.Array, n_frames: jax.Array | None = None) -> jax.Array:
    """Mean over a clip's frames, in float32 or better also for bfloat16 frames.

    Args:
        frames: `[b, t, d]`.
        n_frames: int `[b]`, how many of them are the clip's; None for all.

    Returns:
        `[b, d]`.
    """
    accumulate = jnp.promote_types(frames.dtype, jnp.float32)
    if n_frames is None:
        return jnp.mean(frames, axis=1, dtype=accumulate)
    inside = before(n_frames, frames.shape[1])[..., None]
    total = jnp.sum(frames, axis=1, dtype=accumulate, where=inside)
    return total / n_frames[:, None]


@functools.cache
def average_matrix(length: int, n_frames: int) -> np.ndarray:
    """Adaptive average: frame i is the mean over `floor(i s/n) .. ceil((i+1) s/n) - 1`.

    Args:
        length: Number of frames in, s.
        n_frames: Number of frames out, n.

    Returns:
        float64 `[n_frames, length]`, not writable.
    """
    index = np.arange(n_frames)
    start = index * length // n_frames
    stop = -(-(index + 1) * length // n_frames)
    position = np.arange(length)
    inside = (position >= start[:, None]) & (position < stop[:, None])
    matrix = inside / (stop - start)[:, None]
    matrix.setflags(write=False)
    return matrix


class LinearHead(nn.Module):
    """One dense layer to class logits, in float32 or better.

    Attributes:
        n_classes: Number of classes.
        norm_epsilon: Of a LayerNorm in front of it; None for no norm.
    """

    n_classes: int
    norm_epsilon: float | None = None

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Maps `[..., d]` to logits `[..., c]`."""
        if self.norm_epsilon is not None:
            frames = layer_norm("norm", frames.dtype, self.norm_epsilon)(frames)
        features = frames.shape[-1]
        init = fan_in_uniform(features)
        kernel = self.param("kernel", init, (features, self.n_classes))
        bias = self.param("bias", init, (self.n_classes,))
        # The matmul runs in the type of the frames, its sum is kept in float32.
        dtype = jnp.promote_types(frames.dtype, jnp.float32)
        logits = jnp.matmul(
            frames, kernel.astype(frames.dtype), preferred_element_type=dtype
        )
        return logits + bias.astype(dtype)


@dataclasses.dataclass(frozen=True)
class Heard:
    """What the heads of a model get to see of a batch.

    Attributes:
        sequence: `[b, label frames, e]`.
        n_label_frames: int `[b]`, how many of them are the clip's; None for all.
        encoded: The encoder's `out`, for what `Head.needs`.
        on_label_frames: From values on the encoder's frames, `[b, s, ...]`, to
            `[b, label frames, ...]`.
    """

    sequence: jax.Array
    n_label_frames: jax.Array | None
    encoded: Mapping[str, jax.Array]
    on_label_frames: Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Head:
    """How a model comes to logits of label frames and of clips.

    Attributes:
        logits: `(heard, n_classes) -> (logits [b, label frames, c], clip logits
            [b, c])`. It is called within a module and makes layers `strong_head` and
            `weak_head` there.
        needs: Name in the encoder's `out` that it works on; None for frames alone.
        interchangeable: Both layers are of the same kind and do the same, one to frames
            and the other to their mean: either may start as a copy of the other.
        hears_sequence: It works on what the sequence model makes of the frames; else that
            would be trained for nothing.
        clips_pass_frames: Clip logits depend on all layers; else training on clips leaves
            `strong_head` as it was.
        of_classes: Layers whose outputs are logits of classes, which may start at how often
            each sounds.
        frames_pass_clips: Label frames depend on all layers; else training on frames
            leaves `weak_head` as it was.
    """

    logits: Callable[[Heard, int], tuple[jax.Array, jax.Array]]
    needs: str | None = None
    interchangeable: bool = False
    hears_sequence: bool = True
    clips_pass_frames: bool = False
    frames_pass_clips: bool = False
    of_classes: tuple[str, ...] = ("strong_head", "weak_head")


def _strong(heard: Heard, n_classes: int) -> jax.Array:
    return LinearHead(n_classes, name="strong_head")(heard.sequence)


def _linear(heard: Heard, n_classes: int) -> tuple[jax.Array, jax.Array]:
    mean = time_mean(heard.sequence, heard.n_label_frames)
    weak_head = LinearHead(n_classes, name="weak_head")
    return _strong(heard, n_classes), weak_head(mean)


def _attention(heard: Heard, n_classes: int) -> tuple[jax.Array, jax.Array]:
    logits = _strong(heard, n_classes)
    weight_logits = LinearHead(n_classes, name="weak_head")(heard.sequence)
    return logits, attention_pool(logits, weight_logits, heard.n_label_frames)


def _of_summary(name: str) -> Head:
    def logits(heard: Heard, n_classes: int) -> tuple[jax.Array, jax.Array]:
        weak_head = LinearHead(n_classes, TOKENS_EPSILON, name="weak_head")
        return _strong(heard, n_classes), weak_head(heard.encoded[name])

    return Head(logits, needs=name)


def _token_semantic(heard: Heard, n_classes: int) -> tuple[jax.Array, jax.Array]:
    head = TokenSemanticHead(n_classes, name="weak_head")
    logits = head(heard.encoded["steps"])
    n_steps = heard.encoded.get("n_steps")
    return heard.on_label_frames(logits), time_mean(logits, n_steps)


# By name, as configs and `model.json` spell them:
#   linear     a dense layer on the mean of the frames
#   attention  `models/pooling.py`: frames count for each class as the weak head says
#   tokens     LayerNorm and a dense layer on the encoder's own summary of the clip: of
#              AST the mean of CLS and DIST, of SSAST that of all patches (`ft_avgtok`)
#   cls        the same on the mean of CLS and DIST for SSAST too (`ft_cls`)
#   token_semantic  `models/token_semantic.py`: a convolution over HTS-AT's time steps, whose
#              mean is a clip's, laid out over label frames; the only one of its layers
# With all others, label frames get a dense layer.
HEADS: dict[str, Head] = {
    "linear": Head(_linear, interchangeable=True),
    # The other layer says which frames count.
    "attention": Head(_attention, clips_pass_frames=True, of_classes=("strong_head",)),
    "tokens": _of_summary("summary"),
    "cls": _of_summary("cls_summary"),
    "token_semantic": Head(
        _token_semantic,
        needs="steps",
        hears_sequence=False,
        clips_pass_frames=True,
        frames_pass_clips=True,
    ),
}
