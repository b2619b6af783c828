"""The part of a model's description that says how to build it.

In `model.json`: `encoder` (a name), `sequence` (`kind` and, if there is one, `width` and
`layers`), `head` ("linear" where it is not said), `compression` ("none" where it is not
said, else as `models.compression.parse` reads it) and `frontend` (the preset's name; most
encoders have but one), and `drop_layers` where blocks at the encoder's top are left out.
The number of classes is that of the vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp

from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary
from jaxsed.models import sed
from jaxsed.models.masked_patches import MASKED_PATCHES

# What a description that lacks a field means, as those of before there was the field.
_UNSAID = {"head": "linear", "compression": "none", "drop_layers": 0}


def describe(
    encoder: str,
    sequence: str = "none",
    sequence_width: int = 256,
    sequence_layers: int = 2,
    head: str = "linear",
    dtype: str = "float32",
    compression: str = "none",
    frontend: str = "",
    drop_layers: int = 0,
) -> dict[str, Any]:
    """Describes what `models.sed.build` makes of these arguments.

    Args:
      encoder: See `models.sed.build`.
      sequence: See there.
      sequence_width: See there; left out of the description if there is no sequence.
      sequence_layers: See there; likewise.
      head: See there.
      dtype: Accepted, so that a config's arguments fit, and not kept: a matter of the
        machine, not of the model.
      compression: See `models.sed.build`.
      frontend: See there.
      drop_layers: See there; left out of the description if none is.

    Returns:
      The fields `encoder`, `sequence`, `head`, `compression` and `frontend` of a model's
      description, and `drop_layers`.

    Raises:
      InputError: As `models.sed.build`.
    """
    sizes = {"sequence_width": sequence_width, "sequence_layers": sequence_layers}
    options = {"head": head, "compression": compression, "frontend": frontend}
    options["drop_layers"] = drop_layers
    model = sed.build(encoder, 1, sequence, **sizes, **options, dtype=dtype)
    described = {"kind": sequence}
    if sequence != "none":
        described |= {"width": sequence_width, "layers": sequence_layers}
    dropped = {"drop_layers": drop_layers} if drop_layers else {}
    return {
        "encoder": encoder,
        "sequence": described,
        "head": head,
        "compression": str(model.compression),
        "frontend": model.frontend.name,
        **dropped,
    }


def build(description: Mapping[str, Any], dtype: str = "float32"):
    """Builds the `models.sed.SoundEventModel` that a description names.

    Args:
      description: Content of `model.json`.
      dtype: Type of the matrix products.

    Raises:
      InputError: An architecture or front-end that this jaxsed does not have.
    """
    try:
        sequence = dict(description["sequence"])
        arguments = {"sequence": sequence.pop("kind")}
        arguments["frontend"] = description["frontend"]
        for name, unsaid in _UNSAID.items():
            arguments[name] = description.get(name, unsaid)
        arguments |= {f"sequence_{name}": size for name, size in sequence.items()}
        n_classes = len(Vocabulary.from_json(description["vocabulary"]))
        return sed.build(description["encoder"], n_classes, dtype=dtype, **arguments)
    except (TypeError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"not an architecture of this jaxsed: encoder {description['encoder']!r}, "
            f"sequence {description['sequence']!r}"
        ) from error


def build_with_classes(description: Mapping[str, Any], dtype: str = "float32"):
    """Builds a model that is to score classes; arguments as of `build`.

    Raises:
      InputError: As `build`; or the model ends with pre-training.
    """
    if description.get("head") == MASKED_PATCHES:
        raise InputError(
            "a model that ends with pre-training knows no classes: train it on labels, "
            "with --config.init naming its folder"
        )
    return build(description, dtype)


def parameter_shapes(description: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns the parameters' shapes, by "/"-joined name, of what a description names.

    Nothing is computed: shapes are traced through front-end and model.

    Raises:
      InputError: As `build`.
    """
    model = build(description)
    samples = round(model.encoder.clip_seconds * model.frontend.sample_rate)

    def init(key):
        mel = model.frontend(jnp.zeros((1, samples), jnp.float32))
        return model.init(key, mel)["params"]

    shapes = jax.eval_shape(init, jax.random.key(0))
    flat = flax.traverse_util.flatten_dict(shapes, sep="/")
    return {name: leaf.shape for name, leaf in flat.items()}
