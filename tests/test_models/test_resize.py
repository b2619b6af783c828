import numpy as np
import pytest

from jaxsed.models.resize import bicubic_matrix
from tests import goldens


def test_a_table_is_resized_as_pytorch_does():
    golden = goldens.load("ops")
    table = golden["bicubic_8x37_to_62x8_in"]
    resized = bicubic_matrix(8, 62) @ table @ bicubic_matrix(37, 8).T
    np.testing.assert_allclose(resized, golden["bicubic_8x37_to_62x8_out"], atol=1e-6)


@pytest.mark.parametrize(("n_in", "n_out"), [(8, 62), (37, 8), (24, 1), (1, 5)])
def test_constants_stay_constant(n_in, n_out):
    matrix = bicubic_matrix(n_in, n_out)
    assert matrix.shape == (n_out, n_in)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_the_same_size_changes_nothing():
    np.testing.assert_array_equal(bicubic_matrix(7, 7), np.eye(7))


@pytest.mark.parametrize(("n_in", "n_out"), [(8, 62), (37, 8), (24, 250)])
def test_mirrored_points_give_mirrored_points(n_in, n_out):
    matrix = bicubic_matrix(n_in, n_out)
    np.testing.assert_allclose(matrix[::-1, ::-1], matrix, atol=1e-12)


def test_the_shared_matrix_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        bicubic_matrix(10, 20)[0, 0] = 1
