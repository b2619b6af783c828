"""The front-ends by name: all that lies between a waveform and an encoder.

Encoders only work with the front-end that they were trained with; each file names the
upstream code that its constants are from.
"""

from jaxsed.frontends.ast import AST_PRESETS
from jaxsed.frontends.atst_frame import AtstFrame
from jaxsed.frontends.fbank import Asit, Beats
from jaxsed.frontends.frame_passt import FPasst, FrameMn
from jaxsed.frontends.htsat import HtsAt
from jaxsed.frontends.m2d import M2d
from jaxsed.frontends.preset import Preset

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        AtstFrame(),
        Beats(),
        FPasst(),
        M2d(),
        Asit(),
        FrameMn(),
        HtsAt(),
        *AST_PRESETS,
    )
}
