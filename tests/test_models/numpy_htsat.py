"""HTS-AT written a second time, with loops and NumPy, from the paper and the original."""

import math

import numpy as np

_erf = np.vectorize(math.erf)


def bicubic(mel, n_out):
    """`[t, f]` to `[n_out, f]`: cubic convolution, the ends stay where they are."""
    last = len(mel) - 1
    out = np.zeros((n_out, mel.shape[1]))
    for row in range(n_out):
        place = row * last / (n_out - 1)
        for tap in range(math.floor(place) - 1, math.floor(place) + 3):
            x = abs(place - tap)
            if x <= 1:
                weight = 1.25 * x**3 - 2.25 * x**2 + 1
            else:
                weight = -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3
            out[row] += weight * mel[min(max(tap, 0), last)]
    return out


def norm(x, p):
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return centred / deviation * p["scale"] + p["bias"]


def dense(x, p):
    return x @ p["kernel"] + p.get("bias", 0)


def image_of(mel, p, n_frames, chunks):
    """`[t, 64]` to the image `[64 chunks, w]`."""
    p = p["mel_norm"]
    mel = (mel - p["mean"]) / np.sqrt(p["var"] + 1e-5) * p["scale"] + p["bias"]
    mel = bicubic(mel, n_frames)
    return np.concatenate([chunk.T for chunk in np.split(mel, chunks)])


def patches_of(image, p, patch_frames):
    height, width = image.shape
    kernel = p["patch"]["kernel"]
    tokens = np.zeros((height // 4, width // patch_frames, kernel.shape[-1]))
    for row in range(tokens.shape[0]):
        for column in range(tokens.shape[1]):
            left = column * patch_frames
            patch = image[4 * row : 4 * row + 4, left : left + patch_frames]
            tokens[row, column] = np.einsum("ft,tfd->d", patch, kernel)
    return norm(tokens + p["patch"]["bias"], p["norm"])


def attention(image, p, heads, window, shifted):
    """Softmax attention of each token with those of its window, one by one."""
    rows, columns, width = image.shape
    size = [min(window, extent) for extent in (rows, columns)]
    shift = [window // 2 * (shifted and extent > window) for extent in (rows, columns)]
    query, key, value = np.split(dense(image, p["qkv"]), 3, axis=-1)
    table = p["bias_table"].reshape(2 * size[0] - 1, 2 * size[1] - 1, heads)
    out = np.zeros_like(image)
    for top in range(0, rows, size[0]):
        for left in range(0, columns, size[1]):
            r, c = np.indices(size).reshape(2, -1)
            r, c = (top + r + shift[0]) % rows, (left + c + shift[1]) % columns
            below, beside = r[:, None] - r, c[:, None] - c
            near = (abs(below) < size[0]) & (abs(beside) < size[1])
            # Tokens from the image's two edges may not look at each other.
            below, beside = (np.where(near, x, 0) for x in (below, beside))
            bias = table[below + size[0] - 1, beside + size[1] - 1]
            for head in range(heads):
                part = slice(head * width // heads, (head + 1) * width // heads)
                q, k, v = (x[r, c][:, part] for x in (query, key, value))
                scores = q @ k.T * (width // heads) ** -0.5 + bias[..., head]
                weights = np.where(near, np.exp(scores - scores.max()), 0)
                weights /= weights.sum(-1, keepdims=True)
                out[r, c, part] = weights @ v
    return dense(out, p["proj"])


def block(image, p, heads, window, shifted):
    image = image + attention(
        norm(image, p["norm1"]), p["attn"], heads, window, shifted
    )
    hidden = dense(norm(image, p["norm2"]), p["mlp"]["fc1"])
    hidden = hidden * 0.5 * (1 + _erf(hidden / math.sqrt(2)))
    return image + dense(hidden, p["mlp"]["fc2"])


def merge(image, p):
    corners = [image[r::2, c::2] for c in (0, 1) for r in (0, 1)]
    return dense(norm(np.concatenate(corners, -1), p["norm"]), p["reduction"])


def steps_of(mel, params, encoder):
    """Frames `[s, 2 d]` of one whole clip `[t, 64]`."""
    config, folding = encoder.config, encoder.folding
    image = image_of(mel, params, folding.n_frames, folding.chunks)
    image = patches_of(image, params["embed"], encoder.patch_frames)
    number = 0
    for stage, (depth, heads) in enumerate(zip(config.depths, config.heads)):
        if stage:
            image = merge(image, params[f"merge_{stage - 1}"])
        for index in range(depth):
            p = params[f"block_{number}"]
            image = block(image, p, heads, config.window, index % 2 == 1)
            number += 1
    image = norm(image, params["norm"])
    chunks = np.split(image, folding.chunks)  # of two rows, low and high
    return np.concatenate([np.concatenate(list(chunk), -1) for chunk in chunks])


def token_semantic(steps, p):
    """Frames `[s, d]` to logits `[s, c]`."""
    padded = np.pad(steps, ((1, 1), (0, 0)))
    taps = [padded[tap : tap + len(steps)] @ p["kernel"][tap] for tap in range(3)]
    return sum(taps) + p["bias"]
