"""ASiT's checkpoints as its authors published them (Sara-Ahmed/ASiT).

A container with `teacher` and `student`, keys behind `module.` and `backbone.`.
"""

from jaxsed.weights.layouts.rules import Dropped, External

EXTERNAL = External(
    encoder="asit",
    name="ASiT of its authors",
    licence="none stated (github.com/Sara-Ahmed/ASiT)",
    dropped=(
        Dropped(
            r"(.*\.)?student\..*",
            "the teacher, a running average of the student, is used",
        ),
        Dropped(
            r"(.*\.)?(head|heads|rec_head|cls_head|data_head|recons_head|projector)"
            r"(_\w+)?\..*",
            "maps to the losses of the pre-training only",
        ),
        Dropped(r"(.*\.)?(masked_embed|mask_token)", "stands for masked patches only"),
    ),
)
