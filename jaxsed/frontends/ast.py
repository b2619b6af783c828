"""Front-end of AST and SSAST: ASiT's, normalised for one of several data sets.

`src/dataloader.py` of YuanGongND/ast (`_wav2fbank`), statistics from its recipes
(`egs/*/run.sh`), those of VGGSound and VoxCeleb from its authors' later ones.
"""

import dataclasses

from jaxsed.frontends.fbank import Asit


@dataclasses.dataclass(frozen=True)
class Ast(Asit):
    """Log-mel of Kaldi frames, `(x - mean) / (2 deviation)`; 10 s give `[b, 998, 128]`.

    Attributes:
        mean: Of the log-mel of a data set.
        deviation: Its standard deviation.
    """

    name: str = "ast"
    mean: float = -4.2677393
    deviation: float = 4.5689974

    @property
    def padding(self) -> float:
        """What a log-mel of 0 becomes, which is what the original pads and masks with.

        It is not silence, which is far lower: a power of 1 in every bin.
        """
        return -self.mean / (2 * self.deviation)

    def _statistics(self) -> tuple[float, float]:
        return self.mean, self.deviation


AST_PRESETS = (
    Ast(),  # AudioSet
    Ast(name="ast_esc50", mean=-6.6268077, deviation=5.358466),
    Ast(name="ast_speech_commands", mean=-6.845978, deviation=5.5654526),
    Ast(name="ast_vggsound", mean=-5.0767093, deviation=4.4533687),
    Ast(name="ast_voxceleb", mean=-3.7614744, deviation=4.2011642),
)
