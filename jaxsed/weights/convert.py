"""Makes a model folder of a PyTorch checkpoint, without PyTorch."""

import dataclasses
import hashlib
import math
import time
from pathlib import Path
from typing import Any

from jaxsed.errors import InputError, check_known
from jaxsed.labels import vocab
from jaxsed.weights import (
    architecture,
    conversion_plan,
    files,
    fresh,
    swap,
    torch_content,
    torch_file,
)
from jaxsed.weights.parameter_tree import nested

STAGES = ("ssl", "weak", "strong")
# Of the parameters that a file gives: raised when the same file would give others.
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of a checkpoint.

    Attributes:
        source: The file.
        folder: The model folder.
        encoder: Name of the encoder.
        sequence: As in `model.json`.
        stage: "ssl", "weak" or "strong".
        origin: What layout the file has.
        container: Path to the state dict in the file, "" if that is the file itself.
        prefix: Of the encoder's keys in it.
        vocabulary: Name of the class list.
        licence: Of the weights.
        n_parameters: Number of the model's parameters.
        used: Paths in the file of what became parameters; of what had to be made into
            something else first, its key of the released layout.
        dropped: Reason by path in the file, of all others.
        fresh: By path how it was made, of parameters that the file does not hold.
        notes: Whatever else is worth knowing.
        seconds: How long it took.
    """

    source: Path
    folder: Path
    encoder: str
    sequence: dict[str, Any]
    stage: str
    origin: str
    container: str
    prefix: str
    vocabulary: str
    licence: str
    n_parameters: int
    used: tuple[str, ...]
    dropped: dict[str, str]
    fresh: dict[str, str]
    notes: tuple[str, ...]
    seconds: float

    @property
    def heads_are_drawn(self) -> bool:
        """Whether the model cannot detect yet, as its file lacked a head."""
        return bool(self.drawn_heads)

    @property
    def drawn_heads(self) -> list[str]:
        """Heads that know no class yet, as the file had none."""
        return fresh.drawn_heads(self.fresh)


def convert_file(
    source: Path | str,
    folder: Path | str,
    *,
    model: str | None = None,
    stage: str | None = None,
    vocabulary: str | Path | None = None,
    seed: int = 0,
    licence: str | None = None,
    force: bool = False,
) -> Report:
    """Converts a checkpoint into a model folder, which appears complete or not at all.

    Args:
        source: `.pt`, `.pth`, `.ckpt` or `.safetensors`, of any layout known.
        folder: Where to.
        model: Name of the encoder; None to tell by the keys.
        stage: One of `STAGES`; None to tell by the heads: "strong" with a strong head,
            else "weak" with a weak one, else "ssl".
        vocabulary: Class list by name or path. None for that of the file's heads
            (AudioSet Strong's 447 or AudioSet's 527 classes) or, if it has none,
            AudioSet Strong's.
        seed: Of what has to be drawn.
        licence: Of the weights; None for that of files of this layout.
        force: Whether a model that is at `folder` may be replaced.

    Returns:
        What was used, dropped, and made anew.

    Raises:
        InputError: Not a checkpoint that can be converted; nothing is written then.
        OSError: The folder cannot be written; nothing is left of it then.
    """
    started = time.perf_counter()
    source, folder = Path(source), Path(folder)
    if stage is not None:
        check_known("stage", stage, STAGES)
    model = model and model.lower()  # the original's names are the same but for case
    classes = None if vocabulary is None else vocab.load(vocabulary)
    swap.check_free(folder, files.DESCRIPTION_FILE)
    if (folder / files.DESCRIPTION_FILE).exists() and not force:
        raise InputError(
            f"{folder}: holds a model already; give another folder, or --force to "
            "replace it"
        )
    file = torch_file.read(source, verify=True)
    if harm := torch_content.runs_code(file.foreign):
        raise InputError(
            f"{source}: asks Python to run {harm}, which no honest checkpoint does; "
            "nothing was run here, but torch.load may: delete it"
        )
    try:
        plan = conversion_plan.plan(file.content, model, stage, classes)
        description = {**plan.architecture, "vocabulary": plan.vocabulary.to_json()}
        shapes = architecture.parameter_shapes(description)
        leaves, made = conversion_plan.parameters(plan, shapes, seed)
        description |= {
            "stage": plan.stage,
            "licence": licence or plan.found.licence,
            "provenance": _provenance(source, plan, made),
        }
        files.save_model(folder, nested(leaves), description, plan.unused)
    except InputError as error:
        text = str(error)
        raise InputError(
            text if text.startswith(str(folder)) else f"{source}: {text}"
        ) from error
    return Report(
        source=source,
        folder=folder,
        encoder=plan.found.encoder,
        sequence=plan.architecture["sequence"],
        stage=plan.stage,
        origin=plan.found.origin,
        container=plan.found.container,
        prefix=plan.found.prefix,
        vocabulary=plan.vocabulary.name,
        licence=description["licence"],
        n_parameters=sum(math.prod(shape) for shape in shapes.values()),
        used=tuple(
            plan.paths.get(spelled, spelled)
            for spelled in (plan.spelled.get(key, key) for key in plan.used)
        ),
        dropped={
            plan.paths.get(key, key): reason for key, reason in plan.dropped.items()
        },
        fresh=made,
        notes=tuple(plan.notes),
        seconds=time.perf_counter() - started,
    )


def _provenance(source: Path, plan, made) -> dict[str, Any]:
    """Where the model comes from, and what the way back has to know."""
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from None
    return {
        "converter": VERSION,
        "source": source.name,
        "source_sha256": digest,
        "origin": plan.found.origin,
        "container": plan.found.container,
        "prefix": plan.found.prefix,
        "fresh": made,
        "spelled": plan.spelled,
        "types": plan.types,
    }
