"""ATST-Frame's checkpoints as its authors published them (Audio-WestlakeU/audiossl).

Lightning files: pre-trained, `model.teacher.encoder.*` and `model.student.encoder.*`;
fine-tuned on AudioSet, `encoder.encoder.*` and `head.*`.
"""

from jaxsed.weights.layouts.rules import Dropped, External

EXTERNAL = External(
    encoder="atst_frame",
    name="ATST-Frame of its authors",
    licence="CC BY 4.0",
    dropped=(
        Dropped(
            r"(.*\.)?student\..*",
            "the teacher, a running average of the student, is used",
        ),
        Dropped(
            r"(.*\.)?(projector|predictor)\..*",
            "maps to the loss of the pre-training only",
        ),
        Dropped(
            r"(.*\.)?head\..*",
            "classifier on features of several blocks, pooled over the clip",
        ),
    ),
    fine_tuned=r"encoder\.encoder\..*",
)
