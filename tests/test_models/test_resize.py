import numpy as np
import pytest

from jaxsed.models.resize import (
    along,
    bicubic_matrix,
    bilinear_matrix,
    pseudo_inverse_matrix,
    resized_kernel,
)
from tests import goldens

GOLDEN = goldens.load("compression")
SIZES = [(16, 64), (64, 16), (64, 32), (12, 7), (7, 12), (5, 1), (1, 5), (9, 8)]


def test_a_table_is_resized_as_pytorch_does():
    golden = goldens.load("ops")
    table = golden["bicubic_8x37_to_62x8_in"]
    resized = bicubic_matrix(8, 62) @ table @ bicubic_matrix(37, 8).T
    np.testing.assert_allclose(resized, golden["bicubic_8x37_to_62x8_out"], atol=1e-6)


@pytest.mark.parametrize(("n_in", "n_out"), [(8, 62), (37, 8), (24, 1), (1, 5)])
@pytest.mark.parametrize("matrix_of", [bicubic_matrix, bilinear_matrix])
def test_constants_stay_constant(matrix_of, n_in, n_out):
    matrix = matrix_of(n_in, n_out)
    assert matrix.shape == (n_out, n_in)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize(
    "matrix_of", [bicubic_matrix, bilinear_matrix, pseudo_inverse_matrix]
)
def test_the_same_size_changes_nothing(matrix_of):
    np.testing.assert_allclose(matrix_of(7, 7), np.eye(7), atol=1e-15)


@pytest.mark.parametrize(("n_in", "n_out"), [(8, 62), (37, 8), (24, 250)])
@pytest.mark.parametrize(
    "matrix_of", [bicubic_matrix, bilinear_matrix, pseudo_inverse_matrix]
)
def test_mirrored_points_give_mirrored_points(matrix_of, n_in, n_out):
    matrix = matrix_of(n_in, n_out)
    np.testing.assert_allclose(matrix[::-1, ::-1], matrix, atol=1e-12)


def test_the_shared_matrix_cannot_be_changed():
    for matrix_of in (bicubic_matrix, bilinear_matrix, pseudo_inverse_matrix):
        with pytest.raises(ValueError, match="read-only"):
            matrix_of(10, 20)[0, 0] = 1


@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_bilinear_reads_between_the_middles_of_cells(n_in, n_out):
    values = np.random.default_rng(0).normal(size=n_in)
    middles = (np.arange(n_in) + 0.5) / n_in
    expected = np.interp((np.arange(n_out) + 0.5) / n_out, middles, values)
    np.testing.assert_allclose(bilinear_matrix(n_in, n_out) @ values, expected)


@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_antialias_weighs_all_points_in_reach(n_in, n_out):
    matrix, scale = bilinear_matrix(n_in, n_out, antialias=True), n_in / n_out
    if scale <= 1:
        np.testing.assert_array_equal(matrix, bilinear_matrix(n_in, n_out))
        return
    for out, row in enumerate(matrix):
        weights = [
            max(0.0, 1 - abs((point + 0.5) / scale - (out + 0.5)))
            for point in range(n_in)
        ]
        np.testing.assert_allclose(row, np.divide(weights, sum(weights)), atol=1e-14)


def test_bilinear_holds_the_outermost_points():
    expected = [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    np.testing.assert_array_equal(bilinear_matrix(2, 4), expected)


def test_beginnings_meet_where_the_scale_is_given():
    matrix = bilinear_matrix(62, 16, scale=4)
    # The middle of the last step of 4 lies beyond the last of 62 steps, which is held.
    assert matrix[0, 1] == matrix[0, 2] == 0.5 and matrix[15, 61] == 1
    finer = bilinear_matrix(16, 62, scale=1 / 4)
    np.testing.assert_allclose(finer, bilinear_matrix(16, 64)[:62], atol=1e-14)


@pytest.mark.parametrize("sizes", ["16_to_32", "16_to_64", "64_to_32", "64_to_16"])
def test_kernels_are_resized_as_the_authors_do(sizes):
    n_in, n_out = sizes.split("_to_")
    kernel = GOLDEN[f"kernel/base{n_in}"]
    for method in ("bl", "bl_aa", "pi"):
        expected = GOLDEN[f"kernel/{method}_{sizes}"]
        resized = resized_kernel(kernel, {2: int(n_out)}, method)
        np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-9)
        if (n_in, n_out) == ("64", "32"):
            twice = resized_kernel(resized, {2: 16}, method)
            expected = GOLDEN[f"kernel/{method}_64_to_32_to_16"]
            np.testing.assert_allclose(twice, expected, rtol=0, atol=1e-9)
    matrix = pseudo_inverse_matrix(int(n_in), int(n_out), antialias=True)
    expected = GOLDEN[f"kernel/pi_aa_{sizes}"]
    np.testing.assert_allclose(along(2, matrix, kernel), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((16, 16), (14, 20)),  # one axis grows, the other shrinks
        ((16, 16), (20, 14)),
        ((6, 9), (9, 4)),
        ((4, 4), (7, 8)),
        ((8, 8), (3, 5)),
    ],
)
def test_pi_is_the_least_squares_kernel_on_resized_inputs(old, new):
    kernel = np.random.default_rng(1).normal(size=old)
    # Both axes at once, as the papers state it: resize every unit input.
    resize = np.kron(bilinear_matrix(old[0], new[0]), bilinear_matrix(old[1], new[1]))
    expected, *_ = np.linalg.lstsq(resize.T, kernel.ravel(), rcond=1e-10)
    found = resized_kernel(kernel, {0: new[0], 1: new[1]}, "pi")
    assert np.abs(found).max() < 20 * np.abs(kernel).max()
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-10)


@pytest.mark.parametrize(("old", "new"), [((4, 4), (7, 8)), ((16, 16), (16, 64))])
def test_a_growing_pi_kernel_sees_no_difference_in_resized_inputs(old, new):
    rng = np.random.default_rng(2)
    kernel, image = rng.normal(size=(2, *old))
    larger = along(0, bilinear_matrix(old[0], new[0]), image)
    larger = along(1, bilinear_matrix(old[1], new[1]), larger)
    found = resized_kernel(kernel, {0: new[0], 1: new[1]}, "pi")
    np.testing.assert_allclose(np.sum(larger * found), np.sum(image * kernel))


def test_pi_takes_the_middle_columns_when_a_kernel_shrinks_fourfold():
    kernel = np.random.default_rng(3).normal(size=64)
    expected = kernel[1::4] + kernel[2::4]
    found = resized_kernel(kernel, {0: 16}, "pi")
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(resized_kernel(kernel, {0: 16}, "bl"), expected / 2)
