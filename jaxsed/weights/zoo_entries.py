"""The released checkpoints that jaxsed knows: where they are and what they are.

Names, files and addresses follow the README and `config.py` of
github.com/fschmid56/PretrainedSED, from whose release all but the originals come; those
are linked in the same README. Sizes and checksums are what public projects pin that use
the files; where there is none, the first fetch records it. `psds1` is
row "Proposed pipeline" of Table I in arXiv:2409.09546 (AudioSet Strong, without variance
penalty), a mean of three runs.
"""

import dataclasses

from jaxsed.weights.zoo_clip_models import AST, SSAST
from jaxsed.weights.zoo_entry import Entry, Licence

RELEASE = "https://github.com/fschmid56/PretrainedSED/releases/download/v0.0.1/"
RELEASE_PAGE = "https://github.com/fschmid56/PretrainedSED/releases/tag/v0.0.1"
DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"
DRIVE_PAGE = "https://drive.google.com/file/d/{}/view"


def _released(name, encoder, stage, licence, other_file=None, **more) -> Entry:
    """An entry of the release; the README and the code call some files differently."""
    files = [f"{name}.pt", *([other_file] if other_file else [])]
    return Entry(
        name=name,
        file=files[0],
        encoder=encoder,
        stage=stage,
        licence=licence,
        urls=tuple(RELEASE + file for file in files),
        pages=(RELEASE_PAGE,),
        aliases=tuple(file.removesuffix(".pt") for file in files[1:]),
        **more,
    )


MIT = Licence("MIT", "github.com/fschmid56/PretrainedSED/blob/main/LICENSE")
MIT_UNILM = Licence("MIT", "github.com/microsoft/unilm/blob/master/LICENSE")
CC_BY = Licence("CC BY 4.0", "github.com/Audio-WestlakeU/audiossl/blob/main/LICENSE")
APACHE_DEIT = Licence(
    "Apache-2.0", "github.com/facebookresearch/deit/blob/main/LICENSE"
)
NTT = Licence(
    "NTT's own (read it before you pass weights on)",
    "github.com/nttcslab/m2d/blob/master/LICENSE.pdf",
)
MIT_HTSAT = Licence(
    "MIT", "github.com/RetroCirce/HTS-Audio-Transformer/blob/main/LICENSE"
)
UNSTATED = Licence("none stated", "github.com/Sara-Ahmed/ASiT has no licence file")

BEATS_PAPER = "arXiv:2212.09058"
ATST_PAPER = "arXiv:2306.04186"
DEIT_PAPER = "arXiv:2012.12877"
M2D_PAPER = "arXiv:2406.02032"
ASIT_PAPER = "arXiv:2211.13189"
HTSAT_PAPER = "arXiv:2202.00874"

STRONG = (
    _released(
        "BEATs_strong_1",
        "beats",
        "strong",
        MIT,
        size_bytes=364_091_999,
        sha256="db13a79ae90a0cfd0f9911a6a1d8cdb89324322bee642dcfe32de022123b8b54",
        psds1=46.5,
    ),
    _released("ATST-F_strong_1", "atst_frame", "strong", MIT, psds1=45.8),
    _released("fpasst_strong_1", "fpasst", "strong", MIT, psds1=45.4),
    _released(
        "M2D_strong_1",
        "m2d",
        "strong",
        MIT,
        psds1=46.3,
        note="fine-tuned from M2D's weights, whose licence is NTT's own",
    ),
    _released(
        "ASIT_strong_1",
        "asit",
        "strong",
        MIT,
        psds1=46.2,
        note="fine-tuned from ASiT's weights, which state no licence",
    ),
    _released("frame_mn06_strong_1", "frame_mn06", "strong", MIT, "frame_mn06.pt"),
    _released("frame_mn10_strong_1", "frame_mn10", "strong", MIT, "frame_mn10.pt"),
)
WEAK = (
    _released(
        "BEATs_weak",
        "beats",
        "weak",
        MIT_UNILM,
        paper=BEATS_PAPER,
        note="the README links iter3+, which is pre-trained and not fine-tuned",
    ),
    _released("ATST-F_weak", "atst_frame", "weak", CC_BY, paper=ATST_PAPER),
    _released("fpasst_weak", "fpasst", "weak", MIT),
    _released(
        "M2D_weak",
        "m2d",
        "weak",
        NTT,
        paper=M2D_PAPER,
        note="the README links the same original as for M2D_ssl",
    ),
    _released(
        "ASIT_weak",
        "asit",
        "weak",
        MIT,
        note="fine-tuned from ASiT's weights, which state no licence",
    ),
)
SSL = (
    _released("BEATs_ssl", "beats", "ssl", MIT_UNILM, paper=BEATS_PAPER),
    _released("ATST-F_ssl", "atst_frame", "ssl", CC_BY, paper=ATST_PAPER),
    _released(
        "fpasst_ssl",
        "fpasst",
        "ssl",
        APACHE_DEIT,
        "fpasst_im.pt",
        paper=DEIT_PAPER,
        note="trained on ImageNet with labels; the release calls it step 1",
    ),
    _released(
        "M2D_ssl",
        "m2d",
        "ssl",
        NTT,
        paper=M2D_PAPER,
        note="the README links an original that is fine-tuned on AudioSet",
    ),
    _released("ASIT_ssl", "asit", "ssl", UNSTATED, paper=ASIT_PAPER),
)
ORIGINALS = (
    Entry(
        name="BEATs_iter3",
        file="BEATs_iter3.pt",
        encoder="beats",
        stage="ssl",
        licence=MIT_UNILM,
        paper=BEATS_PAPER,
        pages=("https://1drv.ms/u/s!AqeByhGUtINrgcpxJUNDxg4eU0r-vA?e=qezPJ5",),
        note="original of BEATs_ssl; to be had with a browser only",
    ),
    Entry(
        name="BEATs_iter3_plus_AS2M",
        file="BEATs_iter3_plus_AS2M.pt",
        encoder="beats",
        stage="ssl",
        licence=MIT_UNILM,
        paper=BEATS_PAPER,
        urls=(
            "https://huggingface.co/lpepino/beats_ckpts/resolve/main/"
            "BEATs_iter3_plus_AS2M.pt",
            "https://huggingface.co/datasets/Bencr/beats-checkpoints/resolve/main/"
            "BEATs_iter3_plus_AS2M.pt",
        ),
        pages=("https://1drv.ms/u/s!AqeByhGUtINrgcpke6_lRSZEKD5j2Q?e=A3FpOf",),
        size_bytes=361_499_833,
        sha256="d43cbfad4d7b56381c061d7a24774f908d4d94c72961f6eb1d9090ff18cd8d34",
        note="original of BEATs_weak",
    ),
    Entry(
        name="atst_frame_base",
        file="atst_frame_base.ckpt",
        encoder="atst_frame",
        stage="ssl",
        licence=CC_BY,
        paper=ATST_PAPER,
        urls=(DRIVE.format("1bGJSZWlAIIJ6GL5Id5dW0PTB72DL-QDQ"),),
        pages=(DRIVE_PAGE.format("1bGJSZWlAIIJ6GL5Id5dW0PTB72DL-QDQ"),),
        size_bytes=1_459_523_813,
        sha256="9f812544983add849f45ef03c4ce10184729adee082c0bdd347764f4835bb3da",
        note="original of ATST-F_ssl; three quarters of it is optimiser state",
    ),
    Entry(
        name="atst_as2M",
        file="atst_as2M.ckpt",
        encoder="atst_frame",
        stage="weak",
        licence=CC_BY,
        paper=ATST_PAPER,
        urls=(DRIVE.format("1_xb0_n3UNbUG_pH1vLHTviLfsaSfCzxz"),),
        pages=(DRIVE_PAGE.format("1_xb0_n3UNbUG_pH1vLHTviLfsaSfCzxz"),),
        note="original of ATST-F_weak",
    ),
    Entry(
        name="deit_base_distilled_patch16_384",
        file="deit_base_distilled_patch16_384-d0272ac0.pth",
        encoder="fpasst",
        stage="ssl",
        licence=APACHE_DEIT,
        paper=DEIT_PAPER,
        urls=(
            "https://dl.fbaipublicfiles.com/deit/"
            "deit_base_distilled_patch16_384-d0272ac0.pth",
        ),
        sha256="d0272ac0",  # in its name, as `torch.hub` checks it
        note="original of fpasst_ssl: a model of images",
    ),
    Entry(
        name="m2d_clap",
        file="m2d_clap_vit_base-80x1001p16x16-240128_AS-FT_enconly.pth",
        encoder="m2d",
        stage="weak",
        licence=NTT,
        paper=M2D_PAPER,
        urls=(
            "https://github.com/nttcslab/m2d/releases/download/v0.3.0/"
            "m2d_clap_vit_base-80x1001p16x16-240128_AS-FT_enconly.zip",
        ),
        aliases=("m2d_clap_vit_base-80x1001p16x16-240128_AS-FT_enconly",),
        member=".pth",
        note="original of M2D_ssl and M2D_weak, in a zip archive",
    ),
    Entry(
        name="ASIT_original",
        file="ASIT_original.pth",
        encoder="asit",
        stage="ssl",
        licence=UNSTATED,
        paper=ASIT_PAPER,
        urls=(DRIVE.format("11eaOU40jonpYZ3u_XI-XUSSWclv8qeR7"),),
        pages=(DRIVE_PAGE.format("11eaOU40jonpYZ3u_XI-XUSSWclv8qeR7"),),
        note="original of ASIT_ssl",
    ),
    Entry(
        name="htsat_audioset_pretrain",
        file="htsat_audioset_pretrain.ckpt",
        encoder="htsat",
        stage="weak",
        licence=MIT_HTSAT,
        paper=HTSAT_PAPER,
        urls=(DRIVE.format("1OK8a5XuMVLyeVKF117L8pfxeZYdfSDZv"),),
        pages=(
            DRIVE_PAGE.format("1OK8a5XuMVLyeVKF117L8pfxeZYdfSDZv"),
            "https://drive.google.com/drive/folders/1f5VYMk0uos_YnuBshgmaTVioXbs7Kmz6",
        ),
        note="of the authors' notebook; their folder has six, HTSAT_AudioSet_Saved_N",
    ),
)
# The same file, made to fit AST's patches as AST's constructor does.
IMAGENET = tuple(
    dataclasses.replace(
        next(entry for entry in ORIGINALS if entry.paper == DEIT_PAPER),
        name=name,
        encoder=encoder,
        note="what AST starts from: DeiT, a model of images",
    )
    for name, encoder in (("AST_imagenet", "ast"), ("AST_imagenet_s16", "ast_s16"))
)
ENTRIES: tuple[Entry, ...] = (
    *STRONG,
    *WEAK,
    *SSL,
    *IMAGENET,
    *ORIGINALS,
    *AST,
    *SSAST,
)
