"""The random Hadamard transform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lowbit_cases import UNTIMED
from scipy.linalg import hadamard as scipy_hadamard

from wutdet.errors import UsageError
from wutdet.lowbit import RandomHadamard
from wutdet.lowbit.hadamard import SIZES, TE_SIGNS, sylvester
from wutdet.lowbit.philox import words

every_size = pytest.mark.parametrize("size", SIZES)


@every_size
def test_matrix_is_that_of_sylvester(size):
    np.testing.assert_array_equal(sylvester(size), scipy_hadamard(size))


@every_size
def test_matrix_is_orthonormal(size):
    matrix = RandomHadamard(size, seed=4).matrix.astype(np.float64)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-6)
    np.testing.assert_allclose(np.abs(matrix), 1 / np.sqrt(size), rtol=1e-7)


@every_size
def test_signs_are_of_the_seed(size):
    for seed in (0, 7, 2**64 - 1):
        transform = RandomHadamard(size, seed)
        np.testing.assert_array_equal(transform.signs, 1 - 2 * (words(seed, size) & 1).astype(int))
        # The first column of Sylvester's matrix is all ones: what is left are the signs.
        np.testing.assert_array_equal(np.sign(transform.matrix[:, 0]), transform.signs)
    assert (RandomHadamard(size, 0).signs != RandomHadamard(size, 1).signs).any()


def test_transformer_engine_signs():
    assert "".join("+" if sign > 0 else "-" for sign in TE_SIGNS) == "+++-+------+-+--"
    np.testing.assert_array_equal(RandomHadamard(16, signs=TE_SIGNS).signs, TE_SIGNS)


@every_size
@given(data=st.data())
@UNTIMED
def test_transform_is_a_product_with_the_matrix_and_can_be_undone(size, data):
    shape = (*data.draw(st.lists(st.integers(0, 3), max_size=2)), size * data.draw(st.integers(0, 3)))
    x = data.draw(hnp.arrays(np.float32, shape, elements=st.floats(-1000, 1000, width=32)))
    transform = RandomHadamard(size, seed=2)
    got = transform(x)
    assert got.shape == x.shape and got.dtype == np.float32
    blocks = x.reshape(-1, size).astype(np.float64)
    np.testing.assert_allclose(got.reshape(-1, size), blocks @ transform.matrix.astype(np.float64), atol=0.05)
    np.testing.assert_allclose(transform.inverse(got), x, atol=0.05)
    np.testing.assert_allclose(np.sum(got.astype(np.float64) ** 2), np.sum(blocks**2), rtol=1e-4, atol=1e-6)


def test_products_along_the_transformed_axis_stay(rng):
    a, b = rng.standard_normal((2, 5, 128)).astype(np.float32)
    transform = RandomHadamard(64, seed=1)
    np.testing.assert_allclose(transform(a) @ transform(b).T, a @ b.T, atol=1e-4)


def test_an_outlier_is_spread_evenly():
    x = np.zeros(64, dtype=np.float32)
    x[17] = 8
    np.testing.assert_array_equal(np.abs(RandomHadamard(64)(x)), 1)


def test_wrong_arguments_are_refused():
    for size in (0, 8, 24, 512, -16):
        with pytest.raises(UsageError, match="size"):
            RandomHadamard(size)
    for signs in ([1] * 15, [0] * 16, [2] * 16, np.ones((16, 1))):
        with pytest.raises(UsageError, match="signs"):
            RandomHadamard(16, signs=signs)
    for shape in ((), (15,), (16, 17)):
        with pytest.raises(UsageError, match="multiple of 16"):
            RandomHadamard(16)(np.zeros(shape, dtype=np.float32))
    with pytest.raises(ValueError, match="read-only"):
        RandomHadamard(16).matrix[0, 0] = 1
