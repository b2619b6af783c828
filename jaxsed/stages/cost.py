"""What trainings cost, in the unit of From Coarse to Fine: operations of forward passes.

    full, coarse = (clip_operations(sed.build("ast_s16", 309, head="tokens",
                                              compression=c)) for c in ("none", "fshift-4"))
    saved_percent([(5, coarse), (3, full)], (10, full))         # 58.31: Table 2, VGGSound

A training's cost is that of the clips it has seen, each forward once. The backward pass
is left out, as in the paper: it takes about twice as much of the same, whatever the
resolution in time, and does not change what is saved.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax

from jaxsed.models.heads_alone import heads_alone, heard_shapes
from jaxsed.models.operations import Operations, operations
from jaxsed.models.sed import SoundEventModel
from jaxsed.stages.program import Draw, abstract_params
from jaxsed.training.patchout import patchout

# Epochs (or steps of the same number of clips), and the operations of a clip in them.
Phase = tuple[float, Operations]


def clip_operations(
    model: nn.Module,
    targets: str | None = "clip",
    clip_seconds: float | None = None,
    inputs: Sequence[str] = ("mel",),
    draw: Draw | None = None,
    patchout_part: float = 0.0,
) -> Operations:
    """Returns the operations of one clip's forward pass in training.

    Args:
        model: from `models.sed.build`.
        targets: what the loss looks at: `clip` (logits of clips), `frames` (logits of
            label frames), or None for whatever the model gives.
        clip_seconds: length of the clip; None for what the encoder was made for.
        inputs: what the model is called with, see `stages.train.Task`.
        draw: what a step draws for that, see there.
        patchout_part: of the time steps, not seen by the encoder.
    """

    def forward(key: jax.Array, mel: jax.Array) -> jax.Array:
        batch: dict[str, Any] = {"mel": mel}
        if draw is not None:
            batch = draw(model, batch, key)
        # Parameters are drawn on the way, which takes no product.
        arguments = (batch[name] for name in inputs)
        with patchout(patchout_part, model.encoder, key):
            return looked_at(model.init_with_output(key, *arguments)[0], targets)

    return operations(forward, _key(), _mel(model, clip_seconds))


def heads_operations(
    model: SoundEventModel, targets: str, clip_seconds: float
) -> Operations:
    """Returns the operations of what comes after the encoder, as `mode=frozen` trains it.

    Args:
        model: with its encoder, whose pass over the clips, once for all epochs, is not
            in it.
        targets: see `clip_operations`.
        clip_seconds: length of the clip.
    """
    alone = heads_alone(model, clip_seconds)
    shapes = heard_shapes(model, abstract_params(model), clip_seconds)

    def forward(key: jax.Array, *heard: jax.Array) -> jax.Array:
        return looked_at(alone.init_with_output(key, *heard)[0], targets)

    heard = (jax.ShapeDtypeStruct((1, *s.shape), s.dtype) for s in shapes.values())
    return operations(forward, _key(), *heard)


def xla_flops(
    model: nn.Module, targets: str | None = "clip", clip_seconds: float | None = None
) -> float:
    """Returns what XLA counts of the same pass, compiled for this machine.

    Two for each multiplication of a product, and one for each addition, comparison and
    so on of what is computed element by element: an estimate of the compiler's.

    Args:
        model: see `clip_operations`.
        targets: see there.
        clip_seconds: see there.
    """
    mel = _mel(model, clip_seconds)
    params = jax.eval_shape(model.init, _key(), mel)["params"]

    def forward(params: Any, mel: jax.Array) -> jax.Array:
        return looked_at(model.apply({"params": params}, mel), targets)

    return jax.jit(forward).lower(params, mel).compile().cost_analysis()["flops"]


def _key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))


def _mel(model: nn.Module, clip_seconds: float | None) -> jax.ShapeDtypeStruct:
    seconds = model.encoder.clip_seconds if clip_seconds is None else clip_seconds
    frontend = model.frontend
    n_frames = frontend.n_mel_frames(round(seconds * frontend.sample_rate))
    return jax.ShapeDtypeStruct((1, n_frames, frontend.n_mels), "float32")


def looked_at(given: tuple[jax.Array, dict], targets: str | None) -> jax.Array:
    """Returns that of a model's outputs which the loss looks at.

    Args:
        given: by the model.
        targets: see `clip_operations`.
    """
    main, out = given
    return out["clip_logits"] if targets == "clip" else main


def saved_percent(phases: Sequence[Phase], baseline: Phase) -> float:
    """Returns what phases save of a baseline's cost, as the paper's tables print it.

    A clip's cost goes in rounded to two decimals of a G operation, as the authors' must
    have: only then do all savings they print come out, to the last digit. Theirs are of
    10 and more; smaller ones keep as many digits, four.

    Args:
        phases: of the training.
        baseline: what it is compared with, often up to its best epoch only.

    Returns:
        Percent, not rounded; negative if it costs more.
    """

    def cost(phase: Phase) -> float:
        length, per_clip = phase
        exponent = math.floor(math.log10(per_clip.gflops))
        return length * round(per_clip.gflops, max(2, 3 - exponent))

    return 100 * (1 - sum(map(cost, phases)) / cost(baseline))
