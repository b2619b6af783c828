"""Front-ends with fewer mel frames: frame shift and pooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.frontends.pooling import pool
from jaxsed.frontends.presets import PRESETS
from tests import goldens, synth_clip

GOLDEN = goldens.load("compression")
NAMES = ("atst_frame", "beats", "fpasst", "m2d", "asit", "frame_mn")
WAYS = [("fshift", 2), ("fshift", 4), ("avg_pool", 4), ("max_pool", 2), ("max_pool", 3)]


def windows_of(mel, n_pooled):
    return [mel[start : start + n_pooled] for start in range(0, len(mel), n_pooled)]


@pytest.mark.parametrize("n_frames", [12, 11, 9, 2])
@pytest.mark.parametrize("padding", [None, 0.5])
def test_neighbours_are_pooled_and_the_end_is_kept(n_frames, padding):
    mel = np.random.default_rng(0).normal(size=(1, n_frames, 3)).astype(np.float32)
    padded = mel[0]
    if padding is not None:
        padded = np.pad(padded, ((0, -n_frames % 4), (0, 0)), constant_values=padding)
    for pooling, reduce in (("avg_pool", np.mean), ("max_pool", np.max)):
        expected = [reduce(window, axis=0) for window in windows_of(padded, 4)]
        pooled = pool(jnp.asarray(mel), pooling, 4, padding=padding)
        np.testing.assert_allclose(pooled[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "padding"), [("avg_pool", None), ("max_pool", None), ("max_pool", 0.5)]
)
def test_what_follows_a_clip_is_not_pooled(pooling, padding):
    mel = jax.random.normal(jax.random.key(0), (3, 13, 2))
    lengths = jnp.array([13, 6, 1])
    loud = jnp.where(jnp.arange(13)[:, None] < lengths[:, None, None], mel, 99.0)

    def total(mel):
        return pool(mel, pooling, 4, lengths, padding).sum()

    together = pool(loud, pooling, 4, lengths, padding)
    assert together.shape == (3, 4, 2) and np.isfinite(together).all()
    for clip, length in enumerate(lengths):
        alone = pool(mel[clip : clip + 1, :length], pooling, 4, padding=padding)[0]
        np.testing.assert_allclose(together[clip, : len(alone)], alone, atol=1e-6)
    gradient = jax.grad(total)(loud)
    assert np.isfinite(gradient).all()
    assert not gradient[1, 6:].any() and gradient[1, :6].any()


@pytest.fixture(scope="module")
def heard():
    """Raw log-mel of the golden clip, by what thins it out: AST's, as ASiT hears."""
    wave = synth_clip.waveform(10, 16_000, 0)[None]

    def raw(*way):
        preset = PRESETS["asit"].compressed(*way) if way else PRESETS["asit"]
        mean, deviation = preset._statistics()
        return np.asarray(jax.jit(preset)(wave))[0] * 2 * deviation + mean

    ways = [("fshift", 2), ("fshift", 4)]
    ways += [(pooling, c) for pooling in ("avg_pool", "max_pool") for c in (2, 4)]
    return {(): raw(), **{way: raw(*way) for way in ways}}


@pytest.mark.parametrize(("hop_ms", "way"), [(10, ()), (20, WAYS[0]), (40, WAYS[1])])
def test_a_longer_hop_gives_the_originals_log_mel(heard, hop_ms, way):
    mel = heard[way]
    assert len(mel) == GOLDEN[f"mel/fshift{hop_ms}_frames"]
    golden = GOLDEN[f"mel/fshift{hop_ms}"]
    # Near the floor of the logarithm float32 has few digits.
    np.testing.assert_allclose(mel[::6, ::10], golden, rtol=0, atol=2e-3)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_pooling_gives_the_originals_log_mel_in_either_order(heard, pooling, factor):
    own, whole, wanted = heard[f"{pooling}_pool", factor], 998 // factor, 1024 // factor
    # AST fills up to 1024 frames with zeros. Pooled before that, two frames that fill
    # no window of four are lost; that window is all that the orders differ in.
    after = pool(jnp.asarray(heard[()])[None], f"{pooling}_pool", factor, padding=0.0)
    orders = {"pool_then_pad": own[:whole], "pad_then_pool": np.asarray(after)[0]}
    edges = []
    for order, mel in orders.items():
        rows = np.pad(mel, ((0, wanted - len(mel)), (0, 0)))
        golden = GOLDEN[f"mel/{pooling}{factor}_{order}"]
        np.testing.assert_allclose(rows[::6, ::10], golden, rtol=0, atol=2e-3)
        edges.append(rows[whole - 1 : whole + 1])
    golden = GOLDEN[f"mel/{pooling}{factor}_edge_rows"]
    np.testing.assert_allclose(edges, golden, rtol=0, atol=2e-3)
    if factor == 4:  # for encoders that do not pad: what is there, by itself
        reduce = np.mean if pooling == "avg" else np.max
        expected = reduce(heard[()][996:], axis=0)
        np.testing.assert_allclose(own[249], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_lengths_are_those_of_a_longer_hop(name):
    preset = PRESETS[name]
    lengths = np.array([0, 1, 399, 400, 401, 1039, 1040, 1041, 6400, 159_999, 160_000])
    for way in WAYS:
        compressed, factor = preset.compressed(*way), way[1]
        assert compressed.frame_rate_hz == 100 / factor
        n_frames = compressed.n_mel_frames(lengths)
        expected = -(-preset.n_mel_frames(lengths) // factor)
        np.testing.assert_array_equal(n_frames, expected)
        wave = jax.ShapeDtypeStruct((1, int(lengths[7])), jnp.float32)
        mel = jax.eval_shape(compressed, wave)
        assert mel.shape == (1, n_frames[7], preset.n_mels)
        whole = np.arange(1, 1001)
        n_mel_frames = compressed.n_mel_frames(640 * whole)
        np.testing.assert_array_equal(compressed.n_label_frames(n_mel_frames), whole)


@pytest.mark.parametrize(
    ("name", "way"), [("beats", WAYS[2]), ("atst_frame", WAYS[3]), ("fpasst", WAYS[1])]
)
def test_padded_clips_are_heard_as_if_alone(name, way):
    lengths = np.array([1, 6400, 4000], np.int32)
    wave = np.random.default_rng(0).uniform(-1, 1, (3, 6400))
    with jax.enable_x64(True):
        hear = jax.jit(
            PRESETS[name].compressed(*way),
            compiler_options={"xla_backend_optimization_level": 0},
        )
        mel = np.asarray(hear(wave, lengths))
        assert np.isfinite(mel).all()
        alone = np.asarray(hear(wave[2:, :4000]))[0]
        np.testing.assert_allclose(mel[2, : len(alone)], alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["m2d", "fpasst"])
def test_a_longer_hop_leaves_frames_out(name):
    """Also where it is longer than a frame."""
    wave = jax.random.normal(jax.random.key(0), (1, 6401))
    full, longer = jax.jit(
        lambda wave: (PRESETS[name](wave), PRESETS[name].compressed("fshift", 4)(wave))
    )(wave)
    np.testing.assert_allclose(longer, full[:, ::4], atol=1e-4)


def test_a_pooled_front_end_can_vary_its_filterbank():
    preset = PRESETS["fpasst"].compressed("avg_pool", 2)
    wave = jax.random.normal(jax.random.key(0), (1, 4000))
    bank = preset.draw_bank(jax.random.key(1))
    full, pooled = jax.jit(
        lambda wave: (PRESETS["fpasst"](wave, bank=bank), preset(wave, bank=bank))
    )(wave)
    expected = pool(full, "avg_pool", 2)
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


def test_mistakes_are_named():
    with pytest.raises(InputError, match=r"thin out mel frames 'avg'.*'avg_pool'"):
        PRESETS["beats"].compressed("avg", 2)
    pooled = PRESETS["beats"].compressed("avg_pool", 2)
    with pytest.raises(InputError, match="beats are pooled already"):
        pooled.compressed("fshift", 2)
