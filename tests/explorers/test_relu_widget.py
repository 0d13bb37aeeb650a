"""The explorer of Lipschitz constants of ReLU networks, without a browser."""

import pytest

from tightrope.errors import InputError
from tightrope.explorers import relu_constants
from tightrope.explorers.relu_lipschitz import FAMILIES
from tightrope.verifiers.relu_lipschitz import METHODS, lipschitz_bound


@pytest.fixture
def explorer():
    return relu_constants(width=3, sparsity=3, background=False)


def test_methods_exist():
    assert {method for orders in FAMILIES.values() for method in orders.values()} <= set(METHODS)


def test_first_answer_and_every_method(explorer):
    assert "product Shor" in explorer.view.text and "at least" in explorer.view.text
    assert explorer.view.png[:4] == b"\x89PNG" and "LBS" in explorer.html.value
    for method, order, words in (
        ("SHOR", 1, "SHOR"),
        ("HR", 2, "HR-2"),
        ("HR", 3, "HR-3"),
        ("LipOpt", 3, "LipOpt-3"),
        ("LipOpt", 4, "LipOpt-4"),
    ):
        explorer.controls["method"].value = method
        explorer.controls["order"].value = order
        assert words in explorer.view.text


def test_impossible_states_are_explained_not_raised(explorer):
    explorer.controls["method"].value = "LipOpt"
    assert explorer.controls["order"].options == (3, 4) and "LipOpt-3" in explorer.view.text
    picture = explorer.view.png
    explorer.controls["width"].value = 0
    assert "width" in explorer.alert.value and bytes(explorer.image.value) == picture
    with pytest.raises(InputError, match="orders 3, 4"):
        relu_constants("LipOpt", 2, width=3, sparsity=3, controls=("method",), background=False)


def test_limits_are_verdicts(monkeypatch):
    """Of time, and of memory in the library's words."""
    few = {"width": 3, "sparsity": 3, "layers": 2, "background": False}
    assert "HR-3 (moments) time," in relu_constants("HR", 3, time_limit=1e-4, **few).view.text
    monkeypatch.setitem(lipschitz_bound.__wrapped__.__kwdefaults__, "memory_limit", 1e-3)
    assert "HR-3 (moments) OfM: needs about 0 MiB," in relu_constants("HR", 3, **few).view.text


def test_a_network_of_the_zoo_takes_the_place_of_a_random_one():
    explorer = relu_constants("SHOR", 1, 0.05, network="spheres/relu-10", time_limit=60, background=False)
    assert set(explorer.controls) == {"method", "order", "epsilon"}
    assert "spheres/relu-10, output 0" in explorer.view.text


def test_bad_first_state_is_raised():
    with pytest.raises(InputError, match="method"):
        relu_constants(method="LipOp", controls=(), background=False)
