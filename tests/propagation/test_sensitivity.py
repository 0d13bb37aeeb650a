"""Degrees of bounds: rational functions are found, exact bounds are the bounds, formulas are not exceeded."""

from fractions import Fraction

import numpy as np
import pytest
from flint import nmod_poly

from tightrope.errors import InputError, UnknownNameError
from tightrope.networks import FeedForward
from tightrope.propagation.bounds import bounds
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.sensitivity import (
    METHODS,
    PRIMES,
    bound_degrees,
    degree_formula,
    exact_bounds,
    shared_degree,
    shift,
)
from tightrope.results.jovanovic2022_paradox.degrees import INPUTS, network_and_direction

BOX = ([-1] * INPUTS, [1] * INPUTS)


# ------------------------------------------------------------------------------------------- rational functions


@pytest.mark.parametrize("prime", PRIMES)
def test_a_rational_function_is_found_as_it_is(prime):
    """(2 x^3 - x + 5) / (x^2 + 3), with a common factor that has to go."""
    x = shift(prime)
    p, q = 2 * x * x * x - x + 5, x * x + 3
    factor = (x - 11) * (x * x + x + 7)
    found = (p * factor) / (q * factor)
    assert [found.p, found.q] == [nmod_poly(c, prime) for c in ([5, -1, 0, 2], [3, 0, 1])]
    assert [one.degree for one in (p / q, q / p, p * 0, x - x + Fraction(1, 3))] == [3, 3, 0, 0]


@pytest.mark.parametrize(("above", "below"), [(0, 0), (1, 0), (0, 4), (7, 7), (12, 3), (3, 12)])
def test_degrees_of_random_functions(above, below):
    rng = np.random.default_rng(above + 100 * below)
    x = shift()

    def polynomial(size: int):
        total = x * 0 + 1
        for coefficient in rng.integers(1, 1000, size):
            total = total * x + int(coefficient)
        return total

    assert (polynomial(above) / polynomial(below)).degree == max(above, below)


def test_zero_has_no_sign_where_it_is_a_kink():
    x = shift()
    assert (x - x).sign == 0 and (x + 1).sign == 1 and (x - 1).sign == -1
    with pytest.raises(InputError, match="kink"):
        _ = x.sign
    with pytest.raises(ZeroDivisionError):
        _ = 1 / (x - x)


# ----------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(4))
def test_exact_bounds_are_the_bounds(method, seed):
    """At delta = 0 to float64; and the functions of delta are those of the network whose weights have moved."""
    network, direction = network_and_direction(3, 2, seed)
    low, high = exact_bounds(network, direction, *BOX, method)
    found = bounds(network, InputSet.boxes(*map(np.array, BOX)), method)
    assert float(low[0].value) == pytest.approx(float(found.output_lower), rel=1e-12)
    assert float(high[0].value) == pytest.approx(float(found.output_upper), rel=1e-12)
    rest = FeedForward.dense([network.weights[0] + direction / 2**40, *network.weights[1:]], network.biases)
    moved = exact_bounds(rest, direction, *BOX, method)[0][0]
    assert moved.value != low[0].value  # the bound does depend on the shift
    assert float(moved.value) == pytest.approx(float(low[0].value), rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("neurons", "hidden"), [(2, 1), (4, 1), (2, 2), (3, 2)])
def test_no_degree_is_above_the_formula(method, neurons, hidden):
    """Neither as printed nor, which is less, with one block fewer; and Box's and hBox's are 1."""
    found = []
    for seed in range(6):
        network, direction = network_and_direction(neurons, hidden, seed)
        found += [side for output in bound_degrees(network, direction, *BOX, method) for side in output]
    fewer, printed = (degree_formula(method, neurons, blocks) for blocks in (hidden - 1, hidden))
    assert max(found) <= shared_degree(method, neurons, hidden) <= fewer <= printed
    assert max(found) == 1 if method in ("box", "hbox") else max(found) > 1


def test_deepz_has_the_degree_of_denominators_that_are_shared():
    """(M + 1)^H, the highest of some networks; the paper's argument allows 2 (3 M)^(H - 1) M."""
    for neurons, hidden in ((2, 1), (3, 1), (2, 2), (3, 2), (2, 3)):
        degrees = []
        for seed in range(10):
            network, direction = network_and_direction(neurons, hidden, seed)
            degrees += bound_degrees(network, direction, *BOX, "deepz")[0]
        assert max(degrees) == (neurons + 1) ** hidden


def test_printed_formulas():
    for M in (2, 3, 5):
        for B in (0, 1, 2):
            assert degree_formula("crown", M, B) == 2 * 3**B * M ** (B + 1)
            assert degree_formula("crown_ibp", M, B) == (2 * M ** (B + 2) - M ** (B + 1) - M) // (M - 1)


def test_bad_input_is_named():
    network, direction = network_and_direction(2, 1, 0)
    with pytest.raises(UnknownNameError, match="triangle"):
        bound_degrees(network, direction, *BOX, "triangle")
    with pytest.raises(InputError, match="direction: shape"):
        bound_degrees(network, direction.T, *BOX, "box")
    with pytest.raises(InputError, match="kink"):  # h = x + delta, -1 <= x <= 1: -l = u at 0 only
        mirrored = FeedForward.dense(([[1.0, -1.0, 1.0]], [[1.0]]), ([0.0], [0.0]))
        bound_degrees(mirrored, np.array([[0.0, 1.0, 0.0]]), [-1, 1, 1], [1, 1, 1], "crown")
