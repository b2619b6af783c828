"""Temporal compression: an encoder that sees C times fewer time steps.

From Coarse to Fine (Feng et al., 2024), section 2.3: three places where time can be made
coarser in front of an unchanged stack of blocks. The frame shift ("fshift") and pooling
thin the mel spectrogram out and leave the patches alone; flexible patchification
("patch") leaves the spectrogram alone and makes the patches wider.
"""

import dataclasses

from jaxsed.errors import InputError, check_known
from jaxsed.frontends.preset import Preset
from jaxsed.models.tokens import Grid

# How a patch kernel is resized when weights are carried over, by method; the models
# themselves are the same. Section 2.3: "BL" and "PI". The authors' code (FlexiAST)
# antialiases its bilinear resize, the formula in the paper does not say.
KERNEL_RESIZES = {"patch_bl": "bl", "patch_bl_aa": "bl_aa", "patch_pi": "pi"}
METHODS = ("none", "fshift", "avg_pool", "max_pool", *KERNEL_RESIZES)
# The paper has 2 and 4. From 5 on, a front-end with a hop of 10 ms would have frames
# further apart than the labels, and a clip's label frames could not be told from it.
LARGEST_FACTOR = 4


@dataclasses.dataclass(frozen=True)
class Compression:
    """One way of seeing fewer time steps; `NONE` for none.

    Attributes:
        method: One of `METHODS`.
        factor: C, how many times fewer steps there are; 1 where the method is "none".

    Raises:
        InputError: The method is unknown, or the factor is not one that it can have.
    """

    method: str = "none"
    factor: int = 1

    def __post_init__(self):
        check_known("compression", self.method, METHODS)
        low, high = (1, 1) if self.method == "none" else (2, LARGEST_FACTOR)
        if not isinstance(self.factor, int) or not low <= self.factor <= high:
            raise InputError(
                f"compression {self.method!r} by a factor of {self.factor}: expected "
                f"a whole number from 2 to {LARGEST_FACTOR}, such as fshift-2, or none"
            )

    def __str__(self) -> str:
        return self.method if self.factor == 1 else f"{self.method}-{self.factor}"

    @property
    def widens_patches(self) -> bool:
        """Whether it is the patches that are coarser, and not the spectrogram."""
        return self.method in KERNEL_RESIZES

    @property
    def thins_mel(self) -> bool:
        """Whether it is the spectrogram that is coarser, and not the patches."""
        return self.factor > 1 and not self.widens_patches

    def of_preset(self, preset: Preset) -> Preset:
        """Returns the front-end that an encoder with this compression hears by."""
        return preset.compressed(self.method, self.factor) if self.thins_mel else preset

    def of_grid(self, grid: Grid) -> Grid:
        """Returns how the tokens of an encoder lie, given how they do at full resolution."""
        if self.factor == 1:
            return grid
        return grid.compressed(self.factor, wider_steps=self.widens_patches)


NONE = Compression()


def parse(text: str) -> Compression:
    """Reads a compression as configs and `model.json` spell it.

    Args:
        text: "none", or method and factor: "fshift-4", "patch_pi-2". A factor of 1 is
            none, so that the phases of a training can be spelt alike: "fshift-1".

    Raises:
        InputError: It is not spelt that way.
    """
    method, _, factor = str(text).partition("-")
    check_known("compression", method, METHODS)
    if method == "none" and not factor:
        return NONE
    if method == "none" or not factor.isdecimal():
        raise InputError(
            f"compression={text}: expected none, or a method and a factor such as "
            f"{'fshift' if method == 'none' else method}-2"
        )
    return NONE if int(factor) == 1 else Compression(method, int(factor))


def refuse_patches(compression: Compression, encoder: str, why: str) -> None:
    """Refuses wider patches for an encoder that has none to widen.

    Args:
        compression: What is asked for.
        encoder: Its name, for the message.
        why: What it has instead of patches.

    Raises:
        InputError: The compression is one of patches.
    """
    if compression.widens_patches:
        others = ", ".join(
            f"{method}-{compression.factor}"
            for method in METHODS
            if method != "none" and method not in KERNEL_RESIZES
        )
        raise InputError(
            f"compression={compression} makes patches wider, but {encoder} {why}: use "
            f"one of {others}"
        )
