"""Quaternion arithmetic against matrices and SciPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from transform_cases import between, close, rigid

from sparse4d_ros.node.quaternions import IDENTITY, Rigid, compose, interpolate, invert, matrix

numbers = st.floats(-100, 100)
vectors = st.tuples(numbers, numbers, numbers)
rotations = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1).map(
    lambda q: tuple(np.array(q) / np.linalg.norm(q)))
poses = st.tuples(vectors, rotations)


@given(poses, poses)
def test_quaternion_arithmetic_is_matrix_arithmetic(first, second):
    a, b = Rigid(*first[0], *first[1]), Rigid(*second[0], *second[1])
    close(matrix(compose(a, b)), rigid(*first) @ rigid(*second))
    close(matrix(invert(a)), np.linalg.inv(rigid(*first)))
    close(matrix(compose(a, invert(a))), matrix(IDENTITY))


@given(poses, poses, st.floats(0, 1))
def test_interpolation_equals_scipy(first, second, share):
    actual = matrix(interpolate(Rigid(*first[0], *first[1]), Rigid(*second[0], *second[1]), share))
    if abs(np.dot(first[1], second[1])) < 1e-6:
        return  # half a turn apart: both ways round are as short
    expected = between(np.array([0.0, 1.0]), np.array([first[0], second[0]]), np.array([first[1], second[1]]), share)
    np.testing.assert_allclose(actual, expected, atol=1e-6)
