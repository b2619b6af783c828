import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.frontends.presets import PRESETS
from jaxsed.models import sed
from jaxsed.models.batch_norm import BatchNorm
from jaxsed.models.compression import parse
from jaxsed.models.heads import align
from jaxsed.models.htsat import FULL, TINY, HtsAt, htsat, tiny_htsat
from jaxsed.models.swin import SwinBlock
from jaxsed.models.windows import Windows, position_index
from jaxsed.weights.mapping import from_released, to_released
from tests import goldens, synth, synth_clip
from tests.test_models import drawn, numpy_htsat

GOLDEN = goldens.load("htsat")
STRIDES = (
    (61, 7),
    (17, 11),
    (7, 13),
    (3, 23),
)  # of stored tokens and features, by stage
# In the order of the fixture `whole_images`, in front of the crops of 20 s.
CASES = ("clip10", "clip3_infer", "clip3_stretch")
# Of what is stored in the original's order: absolute, in float64.
EXACT = 1e-6


def hasty(function):
    """Jitted for few runs: compiling with all optimisations takes longer than it gains."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


@functools.cache
def mel_of(seconds, dtype, compression="none"):
    """Log-mel of the golden clip `[1, t, 64]`."""
    preset = parse(compression).of_preset(PRESETS["htsat"])
    wave = jnp.asarray(synth_clip.waveform(seconds, 32_000, 0)[None], dtype)
    return jax.jit(preset)(wave)


def released_params(manifest_name, dtype):
    manifest = goldens.manifest(manifest_name)
    weights = {k: entry for k, entry in manifest.items() if "derived" not in entry}
    state_dict = synth.synth_state_dict(weights, 0)
    params = from_released("htsat", state_dict)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)


def scored(manifest_name, compression, mel, dtype):
    """Logits of 32 (or fewer) steps, and what the model gives."""
    model = sed.build(
        "htsat", 527, head="token_semantic", dtype=dtype, compression=compression
    )
    params = released_params(manifest_name, dtype)
    apply = hasty(model.apply)
    _, out = apply({"params": params}, mel)
    steps = np.asarray(out["steps"], np.float64)
    head = jax.tree.map(np.float64, params["weak_head"])
    head["kernel"] = head.pop("taps")
    logits = np.stack([numpy_htsat.token_semantic(clip, head) for clip in steps])
    return logits, out


@pytest.fixture(scope="module", params=["float32", "float64"])
def whole_images(request):
    """Clips that fill an image: the golden one, 3 s of it; in float32 all of `CASES`."""
    dtype, folding = request.param, htsat().folding
    with jax.enable_x64(dtype == "float64"):
        clips = [
            folding.stretched(mel_of(10, dtype)),
            folding.repeated(mel_of(3, dtype)),
        ]
        if dtype == "float32":
            clips += [folding.stretched(mel_of(3, dtype))]
            clips += folding.overlapping_crops(mel_of(20, dtype))
        logits, out = scored("htsat", "none", jnp.concatenate(clips), dtype)
        return dtype, logits, jax.tree.map(np.asarray, out)


def assert_close(name, ours, dtype, *steps):
    """Compares with what is stored of the original.

    In float64 to 1e-6; in float32 three times its own rounding, which includes that of
    the front-end.
    """
    ours = ours[tuple(slice(None, None, step) for step in (1, *steps))]
    atol = EXACT
    if dtype == "float32":
        noise = GOLDEN.get(f"dev32/{name}", [2e-6])
        atol = 3 * noise[0] + 1e-6
    np.testing.assert_allclose(ours, GOLDEN[name], rtol=0, atol=atol, err_msg=name)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def test_every_stage_is_the_originals(whole_images):
    dtype, logits, out = whole_images
    out = {name: array[:1] for name, array in out.items()}
    assert_close("clip10/image", out["image"][:, None], dtype, 1, 9, 7)
    assert_close("clip10/patch_embed", out["patch"], dtype, 61, 7)
    number = 0
    for stage, depth in enumerate(FULL.depths):
        for index in range(min(depth, 2)):
            name, block = f"clip10/stage{stage}_block{index}", f"block_{number + index}"
            assert_close(name, out[block], dtype, *STRIDES[stage])
        number += depth
        merged = out.get(f"merge_{stage}", out["block_11"])
        assert_close(f"clip10/stage{stage}", merged, dtype, *STRIDES[min(stage + 1, 3)])
    assert_close("clip10/norm", out["tokens"], dtype, 3, 23)
    assert_close("clip10/latent_output", out["summary"], dtype)
    by_class = logits[:1].swapaxes(1, 2)[:, :, None]
    assert_close("clip10/tscam", by_class, dtype, 5, 1, 3)


def test_clips_are_scored_as_by_the_original(whole_images):
    dtype, logits, out = whole_images
    for row, case in enumerate(CASES[: len(logits)]):
        clip, steps = out["clip_logits"][row : row + 1], logits[row : row + 1]
        assert_close(f"{case}/logits", clip, dtype)
        assert_close(f"{case}/clipwise_output", sigmoid(clip), dtype)
        every = 3 if case == "clip10" else 9
        assert_close(f"{case}/framewise32", sigmoid(steps), dtype, 1, every)


def test_images_of_short_clips_are_the_originals():
    params = released_params("htsat", "float32")["encoder"]["mel_norm"]
    for case in ("clip3_infer", "clip3_stretch"):
        folding, mel = htsat().folding, mel_of(3, "float32")
        whole = folding.repeated if case == "clip3_infer" else folding.stretched
        normed = BatchNorm().apply({"params": params}, whole(mel))
        image = folding.fold(normed).swapaxes(2, 3).reshape(1, 1, 256, 256)
        # The original's float32 log-mel is off by 3e-4 dB.
        golden = GOLDEN[f"{case}/image"]
        np.testing.assert_allclose(image[:, :, ::9, ::7], golden, rtol=0, atol=1e-3)


@pytest.mark.parametrize("whole_images", ["float32"], indirect=True)
def test_crops_of_a_long_clip_are_the_originals(whole_images):
    dtype, logits, out = whole_images
    clip = sigmoid(out["clip_logits"][3:]).mean(axis=0, keepdims=True)
    assert_close("clip20/clipwise_output", clip, dtype)
    frames = sigmoid(logits[3:]).mean(axis=0, keepdims=True)
    assert_close("clip20/framewise32", frames, dtype, 1, 9)


def test_a_quarter_of_the_tokens_is_what_the_original_makes_of_them():
    with jax.enable_x64(True):
        mel = mel_of(10, "float64", "fshift-4")
        logits, out = scored("htsat_coarse4", "fshift-4", mel, "float64")
    assert_close("coarse4/image", out["image"][:, None], "float64", 1, 9, 7)
    assert_close("coarse4/patch_embed", out["patch"], "float64", 31, 7)
    assert_close("coarse4/stage0", out["merge_0"], "float64", 17, 11)
    assert_close("coarse4/stage3", out["block_11"], "float64", 3, 23)
    assert_close("coarse4/logits", out["clip_logits"], "float64")
    assert_close("coarse4/framewise32", sigmoid(logits), "float64", 1, 9)


def attention_weights(image, block, heads, shifted):
    """Weights of a block `[windows, heads, 64, 64]` on its input `[h * w, d]`."""
    side = round(len(image) ** 0.5)
    windows = Windows.over((side, side), FULL.window, shifted)
    normed = numpy_htsat.norm(image, block["norm1"]).reshape(1, side, side, -1)
    qkv = numpy_htsat.dense(windows.rolled(normed), block["attn"]["qkv"])
    query, key, _ = (
        np.asarray(windows.cut(part, heads)) for part in np.split(qkv, 3, axis=-1)
    )
    scores = query @ key.swapaxes(-1, -2) * query.shape[-1] ** -0.5
    scores = scores.reshape(windows.count, heads, windows.tokens, windows.tokens)
    bias = block["attn"]["bias_table"][position_index(windows.size)]
    scores = scores + bias.transpose(2, 0, 1) + windows.mask()[:, None]
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("stage", "inputs", "strides"),
    [(0, ("patch", "block_0"), (1, 13, 17)), (3, ("merge_2", "block_10"), (5, 7, 9))],
)
def test_tokens_look_where_the_originals_do(whole_images, stage, inputs, strides):
    dtype, _, out = whole_images
    params = jax.tree.map(np.float64, released_params("htsat", "float32"))["encoder"]
    mean = 0
    for index, name in enumerate(inputs):
        block = params[f"block_{sum(FULL.depths[:stage]) + index}"]
        image = np.float64(out[name][0])
        mean += attention_weights(image, block, FULL.heads[stage], index == 1) / 2
    every = 9 if stage == 0 else 1
    assert_close(f"clip10/attn_mean{stage}", mean[::every], dtype, *strides)


def test_batch_norm_stands_in_front_of_the_image():
    """On 1001 frames, as the original has it; the other way round differs in rounding."""
    with jax.enable_x64(True):
        mel, params = mel_of(10, "float64"), released_params("htsat", "float64")
        norm = {"params": params["encoder"]["mel_norm"]}
        normed = BatchNorm(dtype="float64").apply(norm, mel)
        image = htsat().folding.fold(normed).swapaxes(2, 3).reshape(1, 1, 256, 256)
    assert_close("clip10/bn0", np.asarray(normed)[:, None], "float64", 1, 7, 3)
    assert_close("clip10/image", np.asarray(image), "float64", 1, 9, 7)


# ------------------------------------------------------------------ other sizes, weights


@functools.cache
def tiny(compression="none"):
    """A tiny encoder, parameters, and its jitted forward pass."""
    encoder = tiny_htsat(compression=parse(compression))
    mel = jnp.zeros((1, encoder.grid.mel_frames, 64))
    return encoder, drawn.params_for(encoder, mel), hasty(encoder.apply)


def random_mel(encoder, n_clips=2):
    shape = (n_clips, encoder.grid.mel_frames, 64)
    return 20 * jax.random.normal(jax.random.key(0), shape) - 30


@pytest.mark.parametrize("compression", ["none", "patch_pi-2"])
def test_other_weights_and_images_are_what_loops_say(compression):
    encoder, params, apply = tiny(compression)
    mel = random_mel(encoder)
    frames, out = apply(params, mel)
    factor = encoder.grid.factor
    assert frames.shape == (2, 32 // factor, encoder.width) == out["steps"].shape
    for clip, ours in zip(np.float64(mel), frames):
        double = jax.tree.map(np.float64, params["params"])
        expected = numpy_htsat.steps_of(clip, double, encoder)
        np.testing.assert_allclose(ours, expected, atol=1e-4)
    tokens = frames.reshape(2, -1, encoder.width // 2)
    np.testing.assert_allclose(out["summary"], tokens.mean(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("compression", "patch", "table"),
    [
        ("none", (4, 4), 15 * 15),
        ("avg_pool-2", (4, 4), 7 * 15),
        ("max_pool-4", (4, 4), 7 * 7),
        ("patch_bl-2", (8, 4), 7 * 15),
        ("patch_bl_aa-4", (16, 4), 7 * 7),
    ],
)
def test_what_depends_on_the_compression(compression, patch, table):
    encoder = tiny_htsat(compression=parse(compression))
    mel = jnp.zeros((1, encoder.grid.mel_frames, 64))
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), mel)["params"]
    assert set(shapes) == set(encoder.layer_names)
    assert shapes["embed"]["patch"]["kernel"].shape == (*patch, TINY.width)
    tables = [shapes[f"block_{i}"]["attn"]["bias_table"].shape[0] for i in range(5)]
    assert tables == [225, 225, 225, 225, table]
    assert encoder.frame_rate_hz * encoder.grid.factor == 3.2


def test_a_third_of_an_image_is_refused():
    with pytest.raises(InputError, match=r"fshift-3: .*use fshift-2 or fshift-4"):
        sed.build("tiny_htsat", 3, compression="fshift-3")


def test_size_is_the_originals_and_the_unused_layers_missing():
    model = sed.build("htsat", 527, head="token_semantic")
    mel = jnp.zeros((1, 1001, 64))
    shapes = jax.eval_shape(model.init, jax.random.key(0), mel)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 29_963_559
    weights = {
        key: entry
        for key, entry in goldens.manifest("htsat").items()
        if not {"derived", "const"} & entry.keys() and ".head." not in key
    }
    released = to_released("htsat", _zeros(shapes))
    assert {key: list(array.shape) for key, array in released.items()} == {
        key: entry["shape"] for key, entry in weights.items()
    }


def _zeros(shapes):
    return jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)


# ------------------------------------------------------------------------------- lengths


@pytest.mark.parametrize(
    ("n_mel_frames", "n_steps"), [(1001, 32), (970, 32), (969, 31), (321, 11), (1, 1)]
)
def test_a_step_for_every_313_ms(n_mel_frames, n_steps):
    grid = tiny_htsat().grid
    assert grid.n_steps(n_mel_frames) == n_steps
    assert grid.n_steps(jnp.array([n_mel_frames]))[0] == n_steps


SHORT_AND_LONG = np.array([321, 1001])


@pytest.fixture(scope="module")
def short_and_long():
    """Mel, parameters, logits and out of a tiny model with its own head."""
    model = sed.build("tiny_htsat", 5, head="token_semantic")
    mel = random_mel(model.encoder)
    params = drawn.params_for(model, mel)
    assert set(params["params"]) == {"encoder", "weak_head"}
    return mel, params["params"], *hasty(model.apply)(params, mel, SHORT_AND_LONG)


def test_a_short_clip_is_heard_with_silence_behind_it(short_and_long):
    mel, params, _, out = short_and_long
    encoder, _, apply = tiny()
    frames = out["frames"]
    inside = jnp.arange(1001) < SHORT_AND_LONG[:, None]
    heard, _ = apply(
        {"params": params["encoder"]}, jnp.where(inside[..., None], mel, -100)
    )
    np.testing.assert_array_equal(out["n_steps"], [11, 32])
    np.testing.assert_allclose(frames[0, :11], heard[0, :11], atol=2e-5)
    np.testing.assert_allclose(frames[1], heard[1], atol=2e-5)
    assert not frames[0, 11:].any()
    mean = heard[0, :11].reshape(-1, encoder.width // 2).mean(axis=0)
    np.testing.assert_allclose(out["summary"][0], mean, atol=1e-5)


def test_longer_than_ten_seconds_says_to_window_but_for_whole_images():
    encoder = tiny_htsat()
    with pytest.raises(InputError, match=r"10\.02 s long.*windows of at most 10 s"):
        encoder.init(jax.random.key(0), jnp.zeros((1, 1002, 64)))
    mel = jax.ShapeDtypeStruct((1, 1024, 64), jnp.float32)
    (frames, _), _ = jax.eval_shape(encoder.init_with_output, jax.random.key(0), mel)
    assert frames.shape == (1, 32, encoder.width)
    with pytest.raises(InputError, match=r"has 1025 frames.*has 1024: cut longer"):
        encoder.folding.repeated(jnp.zeros((1, 1025, 64)))


# ------------------------------------------------------------------------ head, training


def test_frames_are_scored_between_steps_and_clips_by_their_mean(short_and_long):
    _, params, logits, out = short_and_long
    head = jax.tree.map(np.float64, params["weak_head"])
    head["kernel"] = head.pop("taps")
    expected = numpy_htsat.token_semantic(np.float64(out["steps"][0]), head)
    # Beyond its end a clip is zeros to the convolution, and its last step holds.
    np.testing.assert_allclose(out["clip_logits"][0], expected[:11].mean(0), atol=1e-4)
    held = np.concatenate([expected[:11], expected[10:11].repeat(21, axis=0)])
    np.testing.assert_allclose(
        logits[0], align(np.float32(held[None]), 250)[0], atol=1e-4
    )


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        (
            "tiny_htsat",
            {"sequence": "bigru"},
            "would not hear the sequence model 'bigru'",
        ),
        ("tiny_m2d", {}, "needs the steps of a clip, which the encoder 'tiny_m2d'"),
    ],
)
def test_a_token_semantic_head_needs_its_encoder_alone(encoder, options, message):
    with pytest.raises(InputError, match=message):
        sed.build(encoder, 3, head="token_semantic", **options)


def test_a_training_step_reaches_every_parameter_and_records_statistics():
    encoder, params, _ = tiny()
    mel = random_mel(encoder)

    def loss_fn(params, key):
        (frames, _), recorded = encoder.apply(
            params, mel, rngs={"dropout": key}, mutable=["updates"]
        )
        return jnp.mean((frames - 1) ** 2), recorded["updates"]

    step = hasty(jax.grad(loss_fn, has_aux=True))
    gradients, updates = step(params, jax.random.key(3))
    for path, leaf in jax.tree.leaves_with_path(gradients):
        running = path[-1].key in ("mean", "var")
        assert np.isfinite(leaf).all() and np.any(leaf) != running, path
    old = params["params"]["mel_norm"]["mean"]
    np.testing.assert_allclose(
        updates["mel_norm"]["mean"], 0.9 * old + 0.1 * mel.mean(axis=(0, 1)), rtol=1e-4
    )


def test_drop_path_rises_to_a_tenth():
    encoder, rates = htsat(), []

    def note(call, args, kwargs, context):
        if isinstance(context.module, SwinBlock) and context.method_name == "__call__":
            rates.append(context.module.drop_path)
        return call(*args, **kwargs)

    mel = jax.ShapeDtypeStruct((1, 1001, 64), jnp.float32)
    with nn.intercept_methods(note):
        jax.eval_shape(encoder.init, jax.random.key(0), mel)
    np.testing.assert_allclose(rates, np.linspace(0, 0.1, 12), atol=1e-12)


def test_from_scratch_it_starts_as_the_original():
    encoder = HtsAt(dataclasses.replace(TINY, depths=(1,), heads=(1,)))
    image = jnp.zeros((1, 64, 64, TINY.width))
    block = SwinBlock(1, 8, False, "float32")
    params = jax.jit(block.init)(jax.random.key(0), image)["params"]
    for leaf in (params["attn"]["bias_table"], params["mlp"]["fc1"]["kernel"]):
        assert np.std(leaf) == pytest.approx(0.02, rel=0.15)
    assert not np.any(params["attn"]["qkv"]["bias"])
    assert encoder.layer_names == ("mel_norm", "embed", "block_0", "norm")
