"""The sound event model: encoder, alignment to label frames, sequence model, heads."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from jaxsed.errors import InputError, check_known
from jaxsed.frontends.presets import PRESETS, Preset
from jaxsed.models.asit import asit, tiny_asit
from jaxsed.models.ast import ast, ast_s16, tiny_ast, tiny_ast_s16
from jaxsed.models.atst_frame import atst_frame, tiny_atst_frame
from jaxsed.models.beats import beats, tiny_beats
from jaxsed.models.compression import NONE, Compression, parse
from jaxsed.models.fpasst import fpasst, tiny_fpasst
from jaxsed.models.frame_mn import (
    frame_mn06,
    frame_mn10,
    tiny_frame_mn06,
    tiny_frame_mn10,
)
from jaxsed.models.heads import HEADS, Heard, align
from jaxsed.models.htsat import htsat, tiny_htsat
from jaxsed.models.m2d import m2d, tiny_m2d
from jaxsed.models.masked_patches import MASKED_PATCHES, masked_patch_model
from jaxsed.models.sequence import KINDS, SequenceModel
from jaxsed.models.ssast import (
    ssast,
    ssast_deit_small,
    ssast_deit_tiny,
    ssast_deit_tiny_frame,
    ssast_frame,
    ssast_s10,
    tiny_ssast,
    tiny_ssast_frame,
)

# Name -> (dtype, compression) -> encoder.
ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "atst_frame": atst_frame,
    "beats": beats,
    "fpasst": fpasst,
    "m2d": m2d,
    "asit": asit,
    "frame_mn06": frame_mn06,
    "frame_mn10": frame_mn10,
    "ast": ast,
    "ast_s16": ast_s16,
    "ssast": ssast,
    "ssast_s10": ssast_s10,
    "ssast_frame": ssast_frame,
    "ssast_deit_small": ssast_deit_small,
    "ssast_deit_tiny": ssast_deit_tiny,
    "ssast_deit_tiny_frame": ssast_deit_tiny_frame,
    "htsat": htsat,
    "tiny_atst_frame": tiny_atst_frame,
    "tiny_beats": tiny_beats,
    "tiny_fpasst": tiny_fpasst,
    "tiny_m2d": tiny_m2d,
    "tiny_asit": tiny_asit,
    "tiny_frame_mn06": tiny_frame_mn06,
    "tiny_frame_mn10": tiny_frame_mn10,
    "tiny_ast": tiny_ast,
    "tiny_ast_s16": tiny_ast_s16,
    "tiny_ssast": tiny_ssast,
    "tiny_ssast_frame": tiny_ssast_frame,
    "tiny_htsat": tiny_htsat,
}
SEQUENCES = ("none", *KINDS)
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
        head: One of `heads.HEADS`: how frames get logits, and how clips do.
        dtype: Type of the matmuls; parameters are float32.
        compression: What the encoder was made with; the front-end follows from it.
    """

    encoder: nn.Module
    n_classes: int
    sequence_kind: str = "none"
    sequence_width: int = 256
    sequence_layers: int = 2
    head: str = "linear"
    dtype: Any = "float32"
    compression: Compression = NONE

    @property
    def frontend(self) -> Preset:
        """The front-end, callable `wave [b, n] -> mel [b, t, f]`."""
        return self.compression.of_preset(PRESETS[self.encoder.frontend])

    @property
    def heard(self) -> tuple[str, ...]:
        """Names of all outputs that sequence model and heads work on."""
        head = HEADS[self.head]
        names = ("aligned",) if head.hears_sequence else ()
        return names if head.needs is None else (*names, head.needs)

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
        encoded = {**out, "frames": frames, "aligned": aligned}
        return self._scored(encoded, mel.shape[1], n_mel_frames)

    @nn.nowrap  # its layers are those of the method that calls it
    def _scored(self, encoded, mel_length, n_mel_frames=None):
        """What comes after the encoder: `__call__`'s results, of what it `heard`."""
        length = None
        if n_mel_frames is not None:
            length = self.frontend.n_label_frames(n_mel_frames)
        sequence = encoded.get("aligned")
        if self.sequence_kind != "none":
            sequence = SequenceModel(
                self.sequence_kind,
                self.sequence_width,
                self.sequence_layers,
                self.dtype,
                name="sequence",
            )(sequence, length)
        out = {**encoded, "sequence": sequence}
        heard = Heard(
            sequence,
            length,
            out,
            lambda values: self._aligned(values, mel_length, n_mel_frames),
        )
        logits, out["clip_logits"] = HEADS[self.head].logits(heard, self.n_classes)
        return logits, out

    def _aligned(self, frames, mel_length, n_mel_frames):
        """Frames `[b, s, d]` on label frames: short clips as the start of a long one."""
        grid, frontend = self.encoder.grid, self.frontend
        length = mel_length if n_mel_frames is None else n_mel_frames
        frames = grid.refined(grid.extended(frames, length))
        spread = grid.label_frames or frontend.n_label_frames(grid.mel_frames)
        aligned = align(frames, spread)
        return aligned[:, : frontend.n_label_frames(mel_length)]


def build(
    encoder: str,
    n_classes: int,
    sequence: str = "none",
    sequence_width: int = 256,
    sequence_layers: int = 2,
    head: str = "linear",
    dtype: str = "float32",
    compression: str = "none",
    frontend: str = "",
    drop_layers: int = 0,
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
        head: How frames and clips get logits: "linear" (clips from the mean of their
            frames), "attention", or what `heads.HEADS` has for some encoders only.
            "masked_patches" gives a `masked_patches.MaskedPatchModel`, for pre-training.
        dtype: Type of the matmuls: "float32" or "bfloat16" ("float64" for tests,
            where JAX has it enabled). Parameters, norm statistics, softmax, recurrent
            state and logits are float32 whatever it is.
        compression: How many times fewer time steps the encoder sees, and how: "none",
            or one of `compression.METHODS` and a factor, such as "fshift-4". Logits
            are those of label frames all the same.
        frontend: Another preset of the encoder's kind, for its data set's statistics,
            such as "ast_esc50"; empty for the encoder's own.
        drop_layers: Blocks at the encoder's top that are left out.

    Returns:
        A Linen module; it has no parameters before `init`.

    Raises:
        InputError: If a name is unknown, a number is not positive, the head needs what
            the encoder does not give, or the encoder cannot be compressed that way or
            has not so many blocks to leave out.
    """
    check_known("encoder", encoder, ENCODERS)
    check_known("sequence model", sequence, SEQUENCES)
    check_known("head", head, (*HEADS, MASKED_PATCHES))
    check_known("dtype", dtype, DTYPES)
    for name, number in (
        ("n_classes", n_classes),
        ("sequence_width", sequence_width),
        ("sequence_layers", sequence_layers),
    ):
        if number < 1 or number != int(number):
            raise InputError(f"{name} is {number}; expected a whole number from 1 on.")
    compressed = parse(compression)
    built = ENCODERS[encoder](dtype, compression=compressed)
    if frontend not in ("", built.frontend):
        _check_frontend(frontend, encoder, built.frontend)
        built = ENCODERS[encoder](dtype, compression=compressed, frontend=frontend)
    if drop_layers:
        built = _without_top(built, encoder, drop_layers)
    if head == MASKED_PATCHES:
        return masked_patch_model(encoder, built, sequence, compressed, dtype)
    needs = HEADS[head].needs
    if needs is not None and needs not in built.gives:
        fitting = [name for name in HEADS if HEADS[name].needs in (None, *built.gives)]
        raise InputError(
            f"The head {head!r} needs the {needs} of a clip, which the encoder "
            f"{encoder!r} does not give; use one of {', '.join(fitting)}."
        )
    if sequence != "none" and not HEADS[head].hears_sequence:
        raise InputError(
            f"The head {head!r} works on the encoder's own frames, and would not hear the "
            f"sequence model {sequence!r}: use sequence=none, or the head linear."
        )
    return SoundEventModel(
        encoder=built,
        n_classes=n_classes,
        sequence_kind=sequence,
        sequence_width=sequence_width,
        sequence_layers=sequence_layers,
        head=head,
        dtype=dtype,
        compression=compressed,
    )


def _without_top(built, encoder, n_blocks):
    try:
        return built.without_top(n_blocks)
    except InputError as error:
        raise InputError(
            f"drop_layers={n_blocks} does not fit the encoder {encoder!r}: {error}"
        ) from error


def _check_frontend(frontend, encoder, own):
    """Refuses presets that differ from the encoder's own in more than their numbers."""
    kind = type(PRESETS[own])
    fitting = [name for name, preset in PRESETS.items() if type(preset) is kind]
    if frontend not in fitting:
        raise InputError(
            f"The front-end {frontend!r} does not fit the encoder {encoder!r}; "
            f"expected {' or '.join(fitting)}."
        )
