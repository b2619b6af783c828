"""M2D's and M2D-CLAP's checkpoints as their authors published them (nttcslab/m2d).

The encoder alone (`*_enconly`), at top level or under `model`, keys bare or behind
`module.ar.runtime.backbone.`.
"""

from jaxsed.weights.layouts.rules import Dropped, External

EXTERNAL = External(
    encoder="m2d",
    name="M2D of its authors",
    licence="NTT's licence, see github.com/nttcslab/m2d",
    dropped=(
        Dropped(r"(.*\.)?head\..*", "classifier of the fine-tuning"),
        Dropped(
            r"(.*\.)?(to_spec|to_feature)\..*",
            "spectrogram, which the front-end computes itself",
        ),
        Dropped(
            r"(.*\.)?(decoder_\w+|mask_token|target_blocks|target_\w+)(\..*)?",
            "used by the pre-training only",
        ),
        Dropped(
            r"(.*\.)?(text_\w+|semantic_\w+|logit_scale)(\..*)?",
            "the language side of M2D-CLAP",
        ),
    ),
    fine_tuned=r"(.*\.)?head\..*",
)
