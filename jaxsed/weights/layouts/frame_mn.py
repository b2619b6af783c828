"""Key layout of frame-level MobileNets' checkpoints, the same at all widths."""

from jaxsed.weights.layouts.rules import (
    CONVOLUTION,
    Dropped,
    Family,
    Rule,
    Transform,
    affine,
    norm,
)

# [out, in, 1, 1] to [in, out]
POINTWISE = Transform(
    "pointwise", lambda x: x[:, :, 0, 0].T, lambda x: x.T[:, :, None, None]
)
N_FEATURES = 17  # a convolution, 15 inverted residuals, a widening
UNEXPANDED = (1,)  # inverted residuals that do not widen
SQUEEZING = (4, 5, 6, 11, 12, 13, 14, 15)  # those with squeeze-and-excitation


def _conv_norm(key: str, path: str, transform: Transform) -> tuple[Rule, ...]:
    return (
        Rule(f"{key}.0.weight", f"{path}/conv/kernel", transform),
        *norm(f"{key}.1", f"{path}/norm"),
        Rule(f"{key}.1.running_mean", f"{path}/norm/mean"),
        Rule(f"{key}.1.running_var", f"{path}/norm/var"),
    )


def _inverted_residual(index: int) -> list[Rule]:
    key, path = f"model.frame_mn.features.{index}.block", f"encoder/block_{index}"
    layers = [("expand", POINTWISE)] * (index not in UNEXPANDED)
    layers += [("depthwise", CONVOLUTION)]
    layers += [("squeeze", None)] * (index in SQUEEZING)
    layers += [("project", POINTWISE)]
    rules = []
    for position, (name, transform) in enumerate(layers):
        if transform is not None:
            rules += _conv_norm(f"{key}.{position}", f"{path}/{name}", transform)
            continue
        for dense in ("fc1", "fc2"):
            theirs = f"{key}.{position}.conc_se_layers.0.{dense}"
            rules += affine(theirs, f"{path}/{name}/{dense}")
    return rules


FAMILY = Family(
    embedding=(
        *_conv_norm("model.frame_mn.features.0", "encoder/block_0", CONVOLUTION),
        *(
            rule
            for index in range(1, N_FEATURES - 1)
            for rule in _inverted_residual(index)
        ),
        *_conv_norm(
            f"model.frame_mn.features.{N_FEATURES - 1}",
            f"encoder/block_{N_FEATURES - 1}",
            POINTWISE,
        ),
    ),
    block=(),
    depth=0,
    dropped=(
        Dropped(
            r"model\.frame_mn\.features\..+\.num_batches_tracked",
            "counts batches for an average without momentum, which these are not",
        ),
    ),
)
