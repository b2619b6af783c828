"""Parameters that depend on how long a time step is, for another compression.

Between the phases of a training from coarse to fine, and in front of the first, the same
encoder gets steps of another length (From Coarse to Fine, sections 2.2 and 2.3). For each
encoder a table says which of its parameters know how long a step is, and how they are
made to fit; all others are taken over as they are. So are sequence models and heads, which
see label frames of 40 ms whatever the compression (`models.tokens.Grid.refined`), except
those that predict patches in pre-training.

Computed in float64 and rounded once.
"""

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxsed.errors import InputError
from jaxsed.frontends.presets import PRESETS
from jaxsed.models import compression
from jaxsed.models.atst_frame import AtstEmbed
from jaxsed.models.beats import Beats
from jaxsed.models.fpasst import STEM_STRIDE, FpasstEmbed
from jaxsed.models.frame_mn import FrameMobileNet
from jaxsed.models.htsat import HtsAt
from jaxsed.models.masked_patches import PATCH_HEADS, MaskedPatchModel
from jaxsed.models.patches import PatchEmbed
from jaxsed.models.resize import along, bilinear_matrix, resized_kernel
from jaxsed.models.sed import SoundEventModel
from jaxsed.models.tokens import Grid
from jaxsed.weights import position_tables, token_distances, window_bias

Params = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Change:
    """From which encoder to which, the same one at two compressions.

    Attributes:
        before: The encoder that the parameters are of.
        after: The encoder that they are to be for.
        kernel_resize: How patch kernels are resized, of `resize.KERNEL_MATRICES`.
    """

    before: Any
    after: Any
    kernel_resize: str

    @property
    def grids(self) -> tuple[Grid, Grid]:
        """How tokens lie, before and after."""
        return self.before.grid, self.after.grid

    @property
    def ratio(self) -> float:
        """Steps before that one step after is: 1/4 from C=4 to C=1."""
        return self.after.grid.factor / self.before.grid.factor


# An array or, under its path, a tree of them -> the same for the other encoder.
Rule = Callable[[Any, Change], Any]


def adapt(
    params: Params, model_from: SoundEventModel, model_to: SoundEventModel
) -> dict[str, Any]:
    """Makes a model's parameters fit the same model at another compression.

    Args:
        params: Of `model_from`.
        model_from: Where they are from.
        model_to: What they are for.

    Returns:
        The parameters, new arrays (NumPy) where they depend on the length of a step.

    Raises:
        InputError: The encoders are not of one kind.
    """
    before, after = model_from.encoder, model_to.encoder
    presets = [type(PRESETS[encoder.frontend]) for encoder in (before, after)]
    if _kind(before) is not _kind(after) or presets[0] is not presets[1]:
        raise InputError(
            f"parameters of the encoder {before.frontend} do not fit {after.frontend}: "
            "only the compression of an encoder can change"
        )
    if position_tables.differ(before.grid, after.grid):
        encoder = position_tables.refitted(params["encoder"], before.grid, after.grid)
        params = {**params, "encoder": encoder}
    if model_from.compression == model_to.compression:
        return dict(params)
    how = kernel_resize(model_from.compression, model_to.compression)
    change, adapted = Change(before, after, how), dict(params)
    rules = {f"encoder/{path}": rule for path, rule in TABLES[_kind(before)].items()}
    if type(model_from) is type(model_to):
        rules |= HEAD_TABLES.get(type(model_from), {})
    for path, rule in rules.items():
        adapted = _changed(adapted, path.split("/"), rule, change)
    return adapted


def kernel_resize(
    before: compression.Compression, after: compression.Compression
) -> str:
    """Returns how patch kernels are resized: as the wider patches' method says.

    Where both are wider than at full resolution, it is the method that comes after.
    """
    wider = after if after.widens_patches else before
    return compression.KERNEL_RESIZES.get(wider.method, "pi")


def positions(table: np.ndarray, change: Change) -> np.ndarray:
    """Bilinear interpolation on the grid (section 2.2): a time keeps its position.

    Between points in time alone, as frequency has as many rows as before. Tokens in
    front of the grid (CLS, DIST) keep theirs.

    Args:
        table: `[prefix + rows * columns, d]` or `[rows * columns, d]`, in the order of
            the tokens.
        change: From what to what.
    """
    before, after = change.grids
    n_first = len(table) - before.rows * before.columns
    matrix = bilinear_matrix(
        before.columns,
        after.columns,
        scale=change.ratio,
        middle=before.reach / 2,
    )
    shape, axis = (before.columns, before.rows), 0
    if not before.time_major:
        shape, axis = shape[::-1], 1
    others = table[n_first:].reshape(*shape, -1)
    others = along(axis, matrix, others).reshape(-1, table.shape[-1])
    return np.concatenate([table[:n_first], others])


def patch_kernel(kernel: np.ndarray, change: Change) -> np.ndarray:
    """A kernel that begins with the mel frames of a patch, `[frames, ...]`."""
    before, after = (grid.frames_per_step for grid in change.grids)
    frames = len(kernel) * after // before
    return resized_kernel(kernel, {0: frames}, change.kernel_resize)


def flat_patch_kernel(kernel: np.ndarray, change: Change) -> np.ndarray:
    """ATST-Frame's kernel, `[bins * frames, d]`, each bin with all its frames."""
    before, after = (grid.frames_per_step for grid in change.grids)
    kernel = kernel.reshape(-1, before, kernel.shape[-1])
    kernel = resized_kernel(kernel, {1: after}, change.kernel_resize)
    return kernel.reshape(-1, kernel.shape[-1])


def paired_patch_kernel(kernel: np.ndarray, change: Change) -> np.ndarray:
    """fPaSST's kernel over two steps of its stem, `[2 * frames * features, d]`."""
    before, after = change.grids
    frames = before.frames_per_step // STEM_STRIDE
    wanted = 2 * frames * after.frames_per_step // before.frames_per_step
    steps = kernel.reshape(2 * frames, -1, kernel.shape[-1])
    steps = resized_kernel(steps, {0: wanted}, change.kernel_resize)
    return steps.reshape(-1, kernel.shape[-1])


def stored_positions(table: np.ndarray, change: Change) -> np.ndarray:
    """Positions, where they have not been stored on a grid of their own."""
    return table if change.before.embed.stored_grid else positions(table, change)


def predicted_values(layer: Params, change: Change) -> dict[str, np.ndarray]:
    """The layer that predicts the values of hidden patches, all bins with their frames.

    What it draws of a patch, drawn at the other time scale.

    Args:
        layer: `kernel [d, bins * frames]` and `bias [bins * frames]`.
        change: From what to what.
    """
    before, after = (grid.frames_per_step for grid in change.grids)
    matrix = bilinear_matrix(before, after, antialias=True)

    def redrawn(values):
        pictures = values.reshape(*values.shape[:-1], -1, before)
        return along(-1, matrix, pictures).reshape(*values.shape[:-1], -1)

    return {name: redrawn(values) for name, values in layer.items()}


# By the class that gives an encoder its tokens: path below `encoder` -> rule. Patch
# kernels change with the methods that widen patches, all else with every method.
TABLES: dict[type, dict[str, Rule]] = {
    # ATST-Frame: a position for every step.
    AtstEmbed: {
        "embed/positions": positions,
        "embed/patch/kernel": flat_patch_kernel,
    },
    # fPaSST: the same; those of frequency, CLS and DIST know no time. Its stem stands
    # in front of the patches and is as it was.
    FpasstEmbed: {
        "embed/time_positions": positions,
        "embed/patch/kernel": paired_patch_kernel,
    },
    # M2D, AST, SSAST: a grid of positions, behind those of CLS and DIST, which know no
    # time; AST's reach to the end of its padding. ASiT: its positions are stored on the
    # grid of its pre-training (8 x 37), which the model lays out over any number of steps.
    PatchEmbed: {
        "embed/positions": stored_positions,
        "embed/patch/kernel": patch_kernel,
    },
    # BEATs: no positions of its own, but biases and a convolution by distance.
    Beats: {
        "embed/patch/kernel": patch_kernel,
        "embed/position": token_distances.position_convolution,
        "relative_bias/table": token_distances.relative_bias,
    },
    # frame_mn: nothing but convolutions, which see as many frames as before.
    FrameMobileNet: {},
    # HTS-AT: the tables of windows that span the image. Smaller windows have as many
    # tokens as before, each of more time: Swin carries such tables over by token, as
    # they are, when images become larger.
    HtsAt: {
        "embed/patch/kernel": patch_kernel,
        "block_*/attn/bias_table": window_bias.resized,
    },
}

# By the class of a model, for heads that do not see label frames: path -> rule.
HEAD_TABLES: dict[type, dict[str, Rule]] = {
    MaskedPatchModel: {f"{name}/fc2": predicted_values for name in PATCH_HEADS},
}


def _kind(encoder: Any) -> type:
    """The class by which an encoder has its table."""
    kind = type(getattr(encoder, "embed", encoder))
    if kind not in TABLES:
        raise InputError(
            f"{kind.__name__} has no table of parameters that depend on time"
        )
    return kind


def _changed(tree: Any, path: list[str], rule: Rule, change: Change) -> Any:
    """A tree with what is at a path replaced by what a rule makes of it.

    A name of the path may be a pattern, such as `block_*`.
    """
    if path:
        name, *rest = path
        names = fnmatch.filter(tree, name) if "*" in name else [name]
        changed = {name: _changed(tree[name], rest, rule, change) for name in names}
        return {**tree, **changed}
    return _like(tree, rule(_widened(tree), change))


def _widened(tree):
    if isinstance(tree, Mapping):
        return {name: _widened(leaf) for name, leaf in tree.items()}
    return np.asarray(tree, np.float64)


def _like(tree, widened):
    if isinstance(tree, Mapping):
        return {name: _like(tree[name], leaf) for name, leaf in widened.items()}
    return widened.astype(tree.dtype)
