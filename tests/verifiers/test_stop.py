"""A question that nobody waits for any more ends inside its solve."""

import pytest

from tests.helpers import question
from tightrope.errors import StoppedError
from tightrope.question import Limits
from tightrope.regions import INFINITY
from tightrope.verifiers.ellipsoid import outer_ellipsoid
from tightrope.verifiers.lipschitz import upper_bound
from tightrope.verifiers.local_lipschitz import local_upper_bound
from tightrope.verifiers.robustness import certify


class Stop:
    """Says True from the `last`-th time on that it is asked, and counts."""

    def __init__(self, last: float = float("inf")):
        self.last, self.asked = last, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked >= self.last


def asked(name: str):
    """A long question by the name of who answers it; it takes `stop`."""
    network, region, label, _ = question(0, INFINITY, 0.3)
    if name == "ellipsoid":
        return lambda stop: outer_ellipsoid(network, region, limits=Limits(stop=stop))
    if name == "constant":
        return lambda stop: upper_bound(network, INFINITY, limits=Limits(stop=stop))
    if name == "local constant":
        return lambda stop: local_upper_bound(network, region, limits=Limits(stop=stop))
    method, _, order = name.partition(" ")
    options = {"method": method, "order": order or "1", "attack": False}
    return lambda stop=None: certify(network, region, label, limits=Limits(stop=stop), **options)


@pytest.mark.parametrize(
    "name",
    [
        "cascade",
        "interior-point",
        "interior-point 1+cuts",
        "ellipsoid",
        "constant",
        "local constant",
    ],
)
def test_a_solve_ends_the_first_time_that_stop_says_true(name):
    solve, never = asked(name), Stop()
    solve(stop=never)
    assert never.asked > 3  # inside the solve: there are two labels
    for last in (1, never.asked // 2, never.asked):
        stop = Stop(last)
        with pytest.raises(StoppedError, match="stop"):
            solve(stop=stop)
        assert stop.asked == last


@pytest.mark.parametrize("name", ["cascade", "interior-point"])
def test_being_asked_changes_no_bound(name):
    solve = asked(name)
    plain, with_stop = solve(), solve(stop=Stop())
    assert [d.bound for d in plain.decisions] == [d.bound for d in with_stop.decisions]


def test_a_general_solver_is_asked_between_labels():
    stop = Stop(3)  # before the stage, and before each label
    with pytest.raises(StoppedError):
        asked("clarabel")(stop=stop)
    assert stop.asked == 3
