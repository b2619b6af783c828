"""An encoder between the tiny twins and the full sizes, for benchmarks on a CPU."""

from typing import Any

from jaxsed.models import atst_frame, sed, vit
from jaxsed.models.compression import NONE, Compression

SIZE = vit.VitConfig(width=256, depth=6, heads=4, mlp_width=1024, qkv_bias=False)


def mid_atst_frame(
    dtype: Any = "float32", compression: Compression = NONE
) -> vit.VisionTransformer:
    """Half as deep and a third as wide as ATST-Frame: 5 M parameters in its blocks."""
    return atst_frame.atst_frame(dtype, SIZE, compression)


def register() -> None:
    """Makes it known by its name, in this process."""
    sed.ENCODERS.setdefault("mid_atst_frame", mid_atst_frame)
