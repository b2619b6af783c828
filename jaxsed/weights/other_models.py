"""Checkpoints that are none of ours, by keys that tell what they seem to be."""

import re
from collections.abc import Iterable

# All patterns of a row must be found; the first such row counts.
_TELLING: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (r"^encoder/norm/scale$|^encoder/\S+/kernel$", r"^strong_head/kernel$"),
        "the parameters of a jaxsed model (its folder is what --to-torch takes)",
    ),
    ((r"quantize\.embedding\.", r"patch_embedding\."), "a BEATs tokenizer, no encoder"),
    ((r"(audio|text)_branch\.",), "a CLAP (audio and text) model"),
    ((r"relative_position_bias_table$", r"tscam_conv\."), "an HTS-AT"),
    ((r"relative_position_bias_table$",), "a Swin transformer"),
    ((r"\bv\.pos_embed$", r"cpredlayer\."), "an SSAST"),
    ((r"\bv\.pos_embed$",), "an AST (Audio Spectrogram Transformer)"),
    ((r"\baudio_spectrogram_transformer\.",), "an AST of the transformers library"),
    ((r"\bfreq_new_pos_embed$",), "a PaSST without frame positions, not fPaSST"),
    ((r"\bmodality_encoders\.",), "a data2vec 2 or EAT model"),
    ((r"\bfeature_extractor\.conv_layers\.0\.",), "a wav2vec 2, HuBERT or WavLM"),
    ((r"\bdecoder\.token_embedding\.", r"\bencoder\.conv1\."), "a Whisper model"),
    ((r"\bdecoder_embed\.",), "a masked autoencoder (AudioMAE?)"),
    ((r"\bconv_block1\.conv1\.",), "a CNN of PANNs"),
    ((r"\bfeatures\.0\.0\.weight$", r"\bclassifier\.\d+\."), "a MobileNet"),
    ((r"\blayer1\.0\.conv1\.weight$", r"\bfc\.weight$"), "a ResNet of torchvision"),
    ((r"\blayer1\.0\.conv1\.weight$",), "a ResNet"),
    ((r"\b(bert|roberta)\.", r"\bembeddings\."), "a language model"),
    ((r"\bblocks\.0\.attn\.qkv\.", r"\bpos_embed$"), "a vision transformer (timm)"),
)
_OPTIMISER = re.compile(r"(^|\.)(exp_avg|exp_avg_sq|max_exp_avg_sq|momentum_buffer)$")


def seems_to_be(keys: Iterable[str]) -> str | None:
    """Says what a checkpoint with these keys seems to be; None if nothing tells."""
    keys = list(keys)
    if keys and all(_OPTIMISER.search(key) for key in keys):
        return "the state of an optimiser, without a model"
    text = "\n".join(keys)
    for patterns, description in _TELLING:
        if all(re.search(pattern, text, re.MULTILINE) for pattern in patterns):
            return description
    return None
