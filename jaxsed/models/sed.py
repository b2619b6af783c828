"""The sound event model: encoder, alignment to label frames, sequence model, heads."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from jaxsed.errors import InputError, check_known
from jaxsed.frontends.presets import PRESETS, Preset
from jaxsed.models.asit import asit, tiny_asit
from jaxsed.models.atst_frame import atst_frame, tiny_atst_frame
from jaxsed.models.beats import beats, tiny_beats
from jaxsed.models.fpasst import fpasst, tiny_fpasst
from jaxsed.models.frame_mn import (
    frame_mn06,
    frame_mn10,
    tiny_frame_mn06,
    tiny_frame_mn10,
)
from jaxsed.models.heads import LinearHead, align, time_mean
from jaxsed.models.m2d import m2d, tiny_m2d
from jaxsed.models.pooling import attention_pool
from jaxsed.models.sequence import KINDS, SequenceModel

ENCODERS: dict[str, Callable[[Any], nn.Module]] = {
    "atst_frame": atst_frame,
    "beats": beats,
    "fpasst": fpasst,
    "m2d": m2d,
    "asit": asit,
    "frame_mn06": frame_mn06,
    "frame_mn10": frame_mn10,
    "tiny_atst_frame": tiny_atst_frame,
    "tiny_beats": tiny_beats,
    "tiny_fpasst": tiny_fpasst,
    "tiny_m2d": tiny_m2d,
    "tiny_asit": tiny_asit,
    "tiny_frame_mn06": tiny_frame_mn06,
    "tiny_frame_mn10": tiny_frame_mn10,
}
SEQUENCES = ("none", *KINDS)
HEADS = ("linear", "attention")
DTYPES = ("float32", "bfloat16", "float64")


class SoundEventModel(nn.Module):
    """Mel spectrograms to logits per label frame (40 ms) and per clip.

    Parameters live under `encoder`, `sequence` (absent where there is none),
    `strong_head` and `weak_head`. Equations (1) to (3) of the paper.

    Attributes:
        encoder: An encoder from `ENCODERS`.
        n_classes: Number of classes of both heads.
        sequence_kind: "none" or one of `sequence.KINDS`.
        sequence_width: Width of the sequence model; of either direction for recurrent
            ones.
        sequence_layers: Its number of layers.
        head: How frames become clip logits: "linear" on their mean, or "attention",
            where the weak head says how much each frame counts for each class.
        dtype: Type of the matmuls; parameters are float32.
    """

    encoder: nn.Module
    n_classes: int
    sequence_kind: str = "none"
    sequence_width: int = 256
    sequence_layers: int = 2
    head: str = "linear"
    dtype: Any = "float32"

    @property
    def frontend(self) -> Preset:
        """The front-end, callable `wave [b, n] -> mel [b, t, f]`."""
        return PRESETS[self.encoder.frontend]

    @nn.compact
    def __call__(
        self, mel: jax.Array, n_mel_frames: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Scores mel spectrograms.

        Args:
            mel: `[b, t, f]` from `frontend`, any length up to the encoder's
                `clip_seconds`.
            n_mel_frames: int `[b]`, how many of them are the clip's and not padding;
                None for all. A clip's logits are those that it has alone.

        Returns:
            Logits `[b, label frames, c]` (250 label frames for 10 s) in float32, and
            by name: all intermediates of the encoder, `frames [b, s, d]` (its output),
            `aligned [b, label frames, d]`, `sequence [b, label frames, e]` (what the
            heads see) and `clip_logits [b, c]`.

        Raises:
            InputError: If the clip is longer than `clip_seconds`, or if the
                spectrogram does not fit the encoder.
        """
        if mel.ndim != 3 or mel.shape[-1] != self.frontend.n_mels:
            raise InputError(
                f"The mel spectrogram has shape {mel.shape}; expected [clips, frames, "
                f"{self.frontend.n_mels}] from the front-end {self.frontend.name}."
            )
        frames, out = self.encoder(mel, n_mel_frames)
        aligned = self._aligned(frames, mel.shape[1], n_mel_frames)
        out = {**out, "frames": frames, "aligned": aligned}
        length = None
        if n_mel_frames is not None:
            length = self.frontend.n_label_frames(n_mel_frames)
        sequence = aligned
        if self.sequence_kind != "none":
            sequence = SequenceModel(
                self.sequence_kind,
                self.sequence_width,
                self.sequence_layers,
                self.dtype,
                name="sequence",
            )(aligned, length)
        out["sequence"] = sequence
        logits = LinearHead(self.n_classes, name="strong_head")(sequence)
        weak_head = LinearHead(self.n_classes, name="weak_head")
        if self.head == "attention":
            pooled = attention_pool(logits, weak_head(sequence), length)
        else:
            pooled = weak_head(time_mean(sequence, length))
        out["clip_logits"] = pooled
        return logits, out

    def _aligned(self, frames, mel_length, n_mel_frames):
        """Frames `[b, s, d]` on label frames: short clips as the start of a long one."""
        grid, frontend = self.encoder.grid, self.frontend
        length = mel_length if n_mel_frames is None else n_mel_frames
        frames = grid.extended(frames, length)
        aligned = align(frames, frontend.n_label_frames(grid.mel_frames))
        return aligned[:, : frontend.n_label_frames(mel_length)]


def build(
    encoder: str,
    n_classes: int,
    sequence: str = "none",
    sequence_width: int = 256,
    sequence_layers: int = 2,
    head: str = "linear",
    dtype: str = "float32",
) -> SoundEventModel:
    """Puts a sound event model together.

    Args:
        encoder: A name in `ENCODERS`.
        n_classes: Number of classes.
        sequence: "none" (students), "bigru" (the paper's teachers), "bilstm",
            "attention", "transformer" or "mamba".
        sequence_width: Width of the sequence model: for recurrent ones, state size of
            either direction (the paper's teachers: 2048, 1024 for fPaSST).
        sequence_layers: Number of its layers.
        head: How frames become clip logits, "linear" (the mean of the frames) or
            "attention".
        dtype: Type of the matmuls: "float32" or "bfloat16" ("float64" for tests,
            where JAX has it enabled). Parameters, norm statistics, softmax, recurrent
            state and logits are float32 whatever it is.

    Returns:
        A Linen module; it has no parameters before `init`.

    Raises:
        InputError: If a name is unknown or a number is not positive.
    """
    check_known("encoder", encoder, ENCODERS)
    check_known("sequence model", sequence, SEQUENCES)
    check_known("head", head, HEADS)
    check_known("dtype", dtype, DTYPES)
    for name, number in (
        ("n_classes", n_classes),
        ("sequence_width", sequence_width),
        ("sequence_layers", sequence_layers),
    ):
        if number < 1:
            raise InputError(f"{name} is {number}; expected at least 1.")
    return SoundEventModel(
        encoder=ENCODERS[encoder](dtype),
        n_classes=n_classes,
        sequence_kind=sequence,
        sequence_width=sequence_width,
        sequence_layers=sequence_layers,
        head=head,
        dtype=dtype,
    )
