"""AST's forward pass derived anew in NumPy, from weights in the released layout."""

import math

import numpy as np


def forward(state_dict, image, strides, heads):
    """Runs it in float64.

    Args:
        state_dict: By key, any width and depth.
        image: `[mel bins, mel frames]`, padded and normalised.
        strides: Of the patches, over mel bins and mel frames.
        heads: Of attention.

    Returns:
        Tokens after the final norm `[2 + patches, d]`, and logits `[c]` of the mean of
        the first two and of the mean of the others.
    """
    get = {key: np.asarray(array, np.float64) for key, array in state_dict.items()}
    v = "module.v."
    kernel = get[f"{v}patch_embed.proj.weight"][:, 0]
    height, width = kernel.shape[1:]
    patches = [
        np.einsum("dft,ft->d", kernel, image[low : low + height, start : start + width])
        for low in range(0, image.shape[0] - height + 1, strides[0])
        for start in range(0, image.shape[1] - width + 1, strides[1])
    ]
    patches = np.stack(patches) + get[f"{v}patch_embed.proj.bias"]
    x = np.concatenate([get[f"{v}cls_token"][0], get[f"{v}dist_token"][0], patches])
    x = x + get[f"{v}pos_embed"][0]
    block = 0
    while f"{v}blocks.{block}.norm1.weight" in get:
        key = f"{v}blocks.{block}"
        x = x + _attention(get, f"{key}.attn", _norm(get, f"{key}.norm1", x), heads)
        hidden = _dense(get, f"{key}.mlp.fc1", _norm(get, f"{key}.norm2", x))
        hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        x = x + _dense(get, f"{key}.mlp.fc2", hidden)
        block += 1
    x = _norm(get, f"{v}norm", x)
    head = "module.mlp_head"
    return x, *(
        _dense(get, f"{head}.1", _norm(get, f"{head}.0", mean, epsilon=1e-5))
        for mean in ((x[0] + x[1]) / 2, x[2:].mean(axis=0))
    )


def _dense(get, key, x):
    return x @ get[f"{key}.weight"].T + get[f"{key}.bias"]


def _norm(get, key, x, epsilon=1e-6):
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return centred / scale * get[f"{key}.weight"] + get[f"{key}.bias"]


def _attention(get, key, x, heads):
    n_tokens, width = x.shape
    query, keys, values = (
        part.reshape(n_tokens, heads, -1).transpose(1, 0, 2)
        for part in np.split(_dense(get, f"{key}.qkv", x), 3, axis=-1)
    )
    scores = query @ keys.transpose(0, 2, 1) / math.sqrt(width / heads)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed = (weights @ values).transpose(1, 0, 2).reshape(n_tokens, width)
    return _dense(get, f"{key}.proj", mixed)
