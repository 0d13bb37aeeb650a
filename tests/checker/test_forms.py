"""Forms of blocks of variables, against floats put in for the variables."""

from fractions import Fraction

import numpy as np
import pytest

from tightrope.checker.forms import Form, Quadratic
from tightrope.checker.numbers import Exact, Refused

SIZES = {"1": 1, "z": 3, "d": 4}


def whole(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-4, 5, shape).astype(float)


def form_of(rng: np.random.Generator, rows: int, *names: str) -> tuple[Form, dict[str, np.ndarray]]:
    """Random forms, and their matrices; a block of as many variables as there are forms is a diagonal one."""
    found = {name: whole(rng, rows) if SIZES[name] == rows else whole(rng, rows, SIZES[name]) for name in names}
    matrices = {name: np.diag(part) if part.ndim == 1 else part for name, part in found.items()}
    return Form({name: Exact.of(part) for name, part in found.items()}), matrices


def value(matrices: dict[str, np.ndarray], at: dict[str, np.ndarray]) -> np.ndarray:
    return sum(part @ at[name] for name, part in matrices.items())


def at_random(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"1": np.ones(1), "z": whole(rng, 3), "d": whole(rng, 4)}


def matrix_at(form: Quadratic, *parts: np.ndarray) -> float:
    v = np.concatenate([np.ones(1), *parts])
    return float(v @ form.matrix().floats() @ v)


@pytest.mark.parametrize("seed", range(5))
def test_sums_of_products_are_those_of_the_values(seed):
    rng = np.random.default_rng(seed)
    (one, A), (two, B) = form_of(rng, 3, "1", "z", "d"), form_of(rng, 4, "z", "d")
    m, n, S = whole(rng, 3), whole(rng, 3, 4), whole(rng, 3, 3)
    form = Quadratic(Fraction(1, 2))
    form.add(Exact.of(m), one)
    form.add(Exact.of(n), two, one)
    form.add(Exact.of(m), Exact.of(S) @ one - one, one)
    for _ in range(3):
        at = at_random(rng)
        a, b = value(A, at), value(B, at)
        expected = 0.5 + m @ a + a @ n @ b + m @ (a * (S @ a - a))
        assert matrix_at(form, at["z"], at["d"]) == pytest.approx(expected, rel=1e-12)


def test_forms_are_put_in_the_place_of_a_block():
    rng = np.random.default_rng(0)
    z, h = Form({"z": Exact.ones(3)}), Form({"h": Exact.ones(3)})
    inner, A = form_of(rng, 3, "1", "z", "d")
    m = whole(rng, 3)
    form = Quadratic()
    form.add(Exact.of(m), z - h, z)
    form.substitute("h", inner)
    at = at_random(rng)
    assert matrix_at(form, at["z"], at["d"]) == pytest.approx(m @ (at["z"] * (at["z"] - value(A, at))), rel=1e-12)


@pytest.mark.parametrize("dense", [False, True])
def test_what_is_left_of_a_block_is_at_most_the_form_and_hardly_less_than_its_least_value(dense):
    rng = np.random.default_rng(1)
    weights = rng.uniform(1, 3, 4)
    Q = np.diag(weights) + (0.1 if dense else 0.0)
    d, (linear, D) = Form({"d": Exact.ones(4)}), form_of(rng, 4, "1", "z")
    form = Quadratic(Fraction(3))
    form.add(Exact.of(Q if dense else weights), d, d)
    form.add(Exact.ones(4), linear, d)
    form.minimise("d")
    for _ in range(3):
        at = at_random(rng)
        side = value(D, at)
        least = 3 - side @ np.linalg.solve(Q, side) / 4
        assert matrix_at(form, at["z"]) <= least + 1e-12 * (1 + abs(least))
        assert matrix_at(form, at["z"]) >= least - 1e-6 * (1 + abs(least))


@pytest.mark.parametrize(("weights", "seen"), [([1, -1], [1, 0]), ([1, 0], [1, 1]), ([-1, 1], [0, 0])])
def test_a_coordinate_without_a_least_value_is_refused(weights, seen):
    """One with a negative weight too that nothing else has: its square would be lost."""
    form, d = Quadratic(), Form({"d": Exact.ones(2)})
    form.add(Exact.of(weights), d, d)
    form.add(Exact.of(seen), d)
    with pytest.raises(Refused, match="weight"):
        form.minimise("d")


def test_a_dense_form_without_a_least_value_is_refused():
    form, d = Quadratic(), Form({"d": Exact.ones(2)})
    form.add(Exact.of([[1.0, 2.0], [2.0, 1.0]]), d, d)
    with pytest.raises(Refused):
        form.minimise("d")


def test_a_block_that_is_left_is_one_of_the_matrix():
    form = Quadratic(Fraction(1))
    form.add(Exact.of([1.0]), Form({"forgotten": Exact.ones(1)}))
    assert form.matrix().shape == (2, 2) and not form.is_nonnegative()


def test_sizes_that_do_not_fit_are_refused_and_not_repeated():
    one, three = Form({"z": Exact.ones(1)}), Form({"z": Exact.ones(3)})
    for m, form in ((Exact.ones(1), three), (Exact.ones(3), one), (Exact.ones(1, 3), one)):
        with pytest.raises(Refused, match="fit"):
            Quadratic().add(m, form)
    with pytest.raises(Refused, match="fit"):
        one + three
