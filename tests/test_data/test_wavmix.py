from pathlib import Path

import numpy as np

from jaxsed.data import wavmix

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ops.npz")
WEIGHT = 0.7  # of the golden mix


def test_audio_equals_the_golden_mix():
    mixed = wavmix.mix_audio(GOLDEN["wavmix_audio0"], GOLDEN["wavmix_audio1"], WEIGHT)
    np.testing.assert_allclose(mixed, GOLDEN["wavmix_out_audio"], atol=1e-6)


def test_labels_and_teacher_equal_the_golden_mix():
    for name in ("labels", "pseudo"):
        own, partner = GOLDEN[f"wavmix_{name}0"], GOLDEN[f"wavmix_{name}1"]
        mixed = wavmix.mix_targets(own, partner, WEIGHT)
        assert mixed.dtype == np.float16
        expected = GOLDEN[f"wavmix_out_{name}"]
        np.testing.assert_allclose(mixed, expected, atol=2**-12)  # float16 below 1


def test_a_constant_offset_disappears():
    own, partner = np.full(100, 500, np.int16), np.full(100, -3000, np.int16)
    np.testing.assert_allclose(wavmix.mix_audio(own, partner, 0.6), 0, atol=1e-3)


def test_weights_follow_the_larger_half_of_beta_2_2():
    rng = np.random.default_rng(0)
    weights = np.array([wavmix.draw_weight(rng) for _ in range(4000)])
    assert weights.min() >= 0.5 and weights.max() <= 1.0
    # max(w, 1 - w), w ~ 6 w (1 - w): mean 11/16, variance 1/20 - (3/16)^2
    assert abs(weights.mean() - 11 / 16) < 5 * np.sqrt((1 / 20 - 9 / 256) / 4000)


def test_weights_of_ast_are_beta_10_10_as_they_are_drawn():
    rng = np.random.default_rng(0)
    drawn = [wavmix.draw_weight(rng, alpha=10.0, major=False) for _ in range(4000)]
    # Beta(10, 10): mean 1/2, variance 1/84.
    assert abs(np.mean(drawn) - 1 / 2) < 5 * np.sqrt(1 / 84 / 4000)
    assert abs(np.var(drawn) - 1 / 84) < 0.001


def test_mixed_labels_are_exact_in_float16():
    rng = np.random.default_rng(0)
    for weight in (wavmix.draw_weight(rng) for _ in range(200)):
        own, partner = np.array([1, 0, 1], np.uint8), np.array([0, 1, 1], np.uint8)
        mixed = wavmix.mix_targets(own, partner, weight).astype(np.float64)
        np.testing.assert_array_equal(mixed, [weight, 1 - weight, 1])


def test_labels_mix_the_same_whatever_their_type():
    rng = np.random.default_rng(0)
    own, partner = rng.integers(0, 2, (2, 30, 5), np.uint8)
    for weight in (1.0, wavmix.draw_weight(rng), 0.5):
        mixed = wavmix.mix_targets(own, partner, weight)
        floats = own.astype(np.float32), partner.astype(np.float32)
        np.testing.assert_array_equal(mixed, wavmix.mix_targets(*floats, weight))
    assert wavmix.unmixed(own).dtype == np.float16
    np.testing.assert_array_equal(wavmix.unmixed(own), own)
