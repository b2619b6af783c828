"""The released checkpoints of AST and SSAST, for whole clips.

Names and addresses follow the READMEs of github.com/YuanGongND/ast and
github.com/YuanGongND/ssast ("Pretrained Models"); size and checksum of the one from the
Hub are what public projects pin that use it. Left out are AST's models for clips of 1 s
and at strides of 12 and 14, which have no encoder here, and those of SSAST's ablation.
"""

from jaxsed.weights.zoo_entry import Entry, Licence

DROPBOX = "https://www.dropbox.com/s/{}/{}?dl=1"
AST_PAGE = "https://github.com/YuanGongND/ast#pretrained-models"
SSAST_PAGE = "https://github.com/YuanGongND/ssast#pretrained-models"
HUB = "https://huggingface.co/MIT/ast-finetuned-audioset-10-10-0.4593"
HUB_REVISION = "f826b80d28226b62986cc218e5cec390b1096902"
AST_PAPER = "arXiv:2104.01778"
SSAST_PAPER = "arXiv:2110.09784"
BSD_AST = Licence("BSD-3-Clause", "github.com/YuanGongND/ast/blob/master/LICENSE")
BSD_SSAST = Licence("BSD-3-Clause", "github.com/YuanGongND/ssast/blob/main/LICENSE")


def _ast(name: str, place: str, encoder: str, note: str) -> Entry:
    return Entry(
        name=name,
        file=f"{name}.pth",
        encoder=encoder,
        stage="weak",
        licence=BSD_AST,
        paper=AST_PAPER,
        urls=(DROPBOX.format(place, f"{name}.pth"),),
        pages=(AST_PAGE,),
        note=note,
    )


def _ssast(name: str, place: str, encoder: str, hidden: int) -> Entry:
    return Entry(
        name=name,
        file=f"{name}.pth",
        encoder=encoder,
        stage="ssl",
        licence=BSD_SSAST,
        paper=SSAST_PAPER,
        urls=(DROPBOX.format(place, f"{name}.pth"),),
        pages=(SSAST_PAGE,),
        note=f"pre-trained with {hidden} of 512 patches hidden, AudioSet and LibriSpeech",
    )


AST = (
    Entry(
        name="ast-finetuned-audioset-10-10-0.4593",
        file="ast-finetuned-audioset-10-10-0.4593.safetensors",
        encoder="ast",
        stage="weak",
        licence=BSD_AST,
        paper=AST_PAPER,
        urls=(f"{HUB}/resolve/{HUB_REVISION}/model.safetensors",),
        pages=(HUB,),
        size_bytes=346_404_948,
        sha256="ae0c1e2ad4e1381d851fa9bf298ba13ebc9c5a914cdee2dbe427a6583869924d",
        note="audioset_10_10_0.4593 as the transformers library keeps it",
    ),
    _ast(
        "audioset_10_10_0.4593",
        "ca0b1v2nlxzyeb4",
        "ast",
        "mAP 0.459: mean of the weights after epochs 1 to 5",
    ),
    _ast("audioset_10_10_0.4495", "1tv0hovue1bxupk", "ast", "mAP 0.450"),
    _ast("audioset_10_10_0.4483", "6u5sikl4b9wo4u5", "ast", "mAP 0.448"),
    _ast("audioset_10_10_0.4475", "kt6i0v9fvfm1mbq", "ast", "mAP 0.448"),
    _ast("audioset_16_16_0.4422", "mdsa4t1xmcimia6", "ast_s16", "mAP 0.442"),
)
SSAST = (
    _ssast("SSAST-Base-Patch-400", "ewrzpco95n9jdz6", "ssast", 400),
    _ssast("SSAST-Base-Frame-400", "nx6nl4d4bl71sm8", "ssast_frame", 400),
    _ssast("SSAST-Base-Patch-250", "mxrm9qog6aj8hif", "ssast", 250),
    _ssast("SSAST-Base-Frame-250", "4e6l7ulhwrfoana", "ssast_frame", 250),
    _ssast("SSAST-Small-Patch-400", "i24w446rl9pkf05", "ssast_deit_small", 400),
    _ssast("SSAST-Tiny-Patch-400", "fkbtf78y94113wz", "ssast_deit_tiny", 400),
    _ssast("SSAST-Tiny-Frame-400", "rx7g60ruzawffzv", "ssast_deit_tiny_frame", 400),
)
