"""Frozen mode: the encoder's frames are computed once; all else is trained on them.

`config.mode = "frozen"`. The encoder is that of `config.init`, and stays as it is: what it
makes of every slice of the training and evaluation data is stored (`stages.frame_passes`),
and each epoch costs what sequence model and heads cost. Slices are consecutive, so that
there is a fixed number of them: no random crops, and nothing that changes the sound.

Stores lie in `WORKDIR/frames`, or in the folder `config.frames`, where runs share them that
have the same encoder and data: a grid of learning rates computes frames once.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxsed.augment import pipeline as augment
from jaxsed.data.frame_store import FrameStore
from jaxsed.data.framed import FramedSlices, JoinedFrames
from jaxsed.data.joined import parts_of
from jaxsed.data.slices import Slices
from jaxsed.errors import InputError, check_known
from jaxsed.models.heads_alone import HeadsAlone, heads_alone, heard_shapes
from jaxsed.models.masked_patches import MASKED_PATCHES
from jaxsed.models.sed import SoundEventModel
from jaxsed.stages.frame_passes import FramePass, make_encode
from jaxsed.stages.teachers import local_mesh
from jaxsed.weights import architecture

FINETUNE, FROZEN = "finetune", "frozen"
MODES = (FINETUNE, FROZEN)
FOLDER = "frames"  # in the workdir

Params = Mapping[str, Any]


def is_frozen(config: Mapping[str, Any]) -> bool:
    """Returns whether a config trains sequence model and heads alone.

    Raises:
        InputError: an unknown mode; or, in frozen mode, a setting that acts before the
            encoder's frames, or on the encoder, and would do nothing. Named.
    """
    check_known("mode", config["mode"], MODES)
    if config["mode"] != FROZEN:
        return False
    if config["model"]["head"] == MASKED_PATCHES:
        raise InputError(
            "mode=frozen: pre-training is of the encoder, which mode=frozen leaves as it "
            "is: use mode=finetune"
        )
    for name, value in _without_effect(config):
        raise InputError(
            f"{name}={value} acts before the encoder's frames or on the encoder, and "
            "mode=frozen computes them once: leave it out, or use mode=finetune"
        )
    return True


def _without_effect(config: Mapping[str, Any]):
    """Yields the settings that are on but could do nothing."""
    settings = augment.resolve(config["augment"])
    for name, value in settings.items():
        if value and (name.endswith("_probability") or name == "vary_filterbank"):
            yield f"augment.{name}", value
    if config["data"]["wavmix_probability"]:
        yield "data.wavmix_probability", config["data"]["wavmix_probability"]
    if config["patchout"]:
        yield "patchout", config["patchout"]
    if config["optim"]["layer_decay"] != 1.0:
        yield "optim.layer_decay", config["optim"]["layer_decay"]
    for regex in config["optim"]["frozen"]:
        if "encoder" in regex:
            yield "optim.frozen", regex


def without_encoder(params: Params) -> dict[str, Any]:
    """Returns parameters, or shapes of them, of all but the encoder."""
    return {name: tree for name, tree in params.items() if name != "encoder"}


class FrozenEncoder:
    """The encoder of a run that does not train it, and what it makes of data.

    Args:
        config: of the run.
        workdir: of the run.
        model: the encoder with all that comes after it.
        params: parameters of all of that.

    Attributes:
        described: what stored frames are said to be of, JSON-able.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        workdir: Path,
        model: SoundEventModel,
        params: Params,
    ):
        self._model = model
        self._params = jax.device_get(params["encoder"])
        self._abstract = jax.eval_shape(lambda: params)
        self._folder = Path(config["frames"] or workdir / FOLDER)
        described = architecture.describe(**config["model"])
        for behind in ("sequence", "head"):
            del described[behind]
        self.described = {
            **described,
            "dtype": config["model"]["dtype"],
            "sha256": _sha256(self._params),
        }
        mesh = local_mesh()
        self._pass = FramePass(
            make_encode(model, self._abstract, mesh),
            self._params,
            mesh=mesh,
            sample_rate=model.frontend.sample_rate,
            batch_size=config["eval"]["batch_size"],
            workers=config["data"]["workers"],
        )

    def framed(
        self, data, clip_seconds: float, most: int | None = None
    ) -> FramedSlices | JoinedFrames:
        """Returns slices of data with the encoder's frames, all of which are there then.

        Args:
            data: a `PreparedData`; or a `JoinedData`, whose folders have stores of their
                own, for other runs to share.
            clip_seconds: length of a slice.
            most: slices of a clip, from its start; None for all.

        Raises:
            InputError: as `FramePass.run`.
        """
        parts = [self._framed(part, clip_seconds, most) for part in parts_of(data)]
        return parts[0] if len(parts) == 1 else JoinedFrames(parts)

    def heads(self, clip_seconds: float) -> HeadsAlone:
        """Returns the model that scores frames of slices of this length."""
        return heads_alone(self._model, clip_seconds)

    def whole(self, params: Params) -> dict[str, Any]:
        """Returns the parameters of the whole model, given all but the encoder's."""
        return {"encoder": self._params, **params}

    def _framed(self, data, clip_seconds: float, most: int | None) -> FramedSlices:
        slices = Slices(data, clip_seconds, most)
        shapes = heard_shapes(self._model, self._abstract, clip_seconds)
        store = FrameStore(
            parent=self._folder,
            encoder=self.described,
            data_name="-".join(data.directory.parts[-2:]),
            data_hash=slices.manifest_hash,
            clip_seconds=slices.clip_seconds,
            n_rows=len(slices),
            arrays=tuple((name, leaf.shape) for name, leaf in shapes.items()),
        )
        stored = self._pass.run(store, slices, f"frames of {data.directory.name}")
        return FramedSlices(data, clip_seconds, most, stored)


def _sha256(params: Params) -> str:
    """Identifies parameters by their names, shapes and values."""
    found = hashlib.sha256()
    for keys, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.ascontiguousarray(leaf)
        path = jax.tree_util.keystr(keys)
        found.update(f"{path} {array.dtype} {array.shape}\n".encode())
        found.update(array)
    return found.hexdigest()
