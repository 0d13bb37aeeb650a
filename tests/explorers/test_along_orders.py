"""The order as an axis: every bound above what is attained, and the defaults show what an order buys."""

import numpy as np
import pytest

from tightrope.errors import StoppedError
from tightrope.explorers import along_orders, orders
from tightrope.explorers.explorer import Memo
from tightrope.networks import FeedForward
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import Ball


def last(**changed):
    """The complete answer for the defaults with some changes."""
    *_, answer = orders.__wrapped__(parts=Memo(), stop=lambda: False, **changed)
    return answer


def test_by_default_an_order_changes_the_verdict():
    """1 leaves the label open, 1+cuts proves it, and branch and bound agrees."""
    explorer = orders(background=False)
    assert repr(explorer).endswith("certified: 1+cuts is the first order that proves it")
    answer = last()
    assert (answer.open, answer.progress) == ("", "6 of 6 orders")
    assert list(answer.bounds) == ["interval", "zonotope", "1", "1+bounds", "1+cuts", along_orders.EXACT]
    assert answer.bounds["1+bounds"] > 0 > answer.bounds["1+cuts"] and answer.verdict is Verdict.CERTIFIED
    assert answer.attained < min(answer.bounds.values())


def test_only_order_2_proves_the_label_in_the_plane():
    """And its region is drawn."""
    answer = last(network=along_orders.PLANE, epsilon_pixel=0.6)
    assert [order for order, bound in answer.bounds.items() if bound < 0] == ["2", along_orders.EXACT]
    assert answer.attained < answer.bounds["2"]
    drawn = along_orders._plane(answer)
    inside = drawn["inside"] < 0
    assert inside.any() and drawn["margin"][inside].max() < answer.bounds["2"]
    assert along_orders.orders_view(answer).png.startswith(b"\x89PNG")


def test_an_attack_is_the_floor():
    """Where it reaches the label nothing is proven."""
    answer = last(epsilon_pixel=0.3)
    assert answer.attained >= 0 and answer.verdict is Verdict.FALSIFIED
    assert min(answer.bounds.values()) >= answer.attained
    assert "falsified" in along_orders.orders_view(answer).text


@pytest.mark.parametrize("label", [0, 3])
def test_the_true_label_gives_way_to_the_next(label):
    assert ("against 1," if label == 0 else "against 3,") in last(label=label, epsilon_pixel=0.01).about


def test_what_is_drawn_of_bounds_is_rounded_outward():
    figure = along_orders.figures.order_axis({"1": 0.12341, "2": np.inf}, -0.125).figure
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.124", "attained by a point: -0.125"]


def test_layers_have_linear_bounds_first():
    """Of a network whose label LP-ALL leaves open and Shor's relaxation proves; branch and bound agrees."""
    answer = last(network="digits/fc-pgd", image=22, label=5, epsilon_pixel=0.08, clip=True)
    assert answer.axis == (*along_orders.LAYERS, "1", "1+bounds", "1+cuts", along_orders.EXACT)
    assert answer.bounds["LP-ALL"] <= answer.bounds["CROWN"] <= answer.bounds["Box"]
    assert answer.bounds["LP-ALL"] > 0 > answer.bounds["1+bounds"] and answer.verdict is Verdict.CERTIFIED
    assert answer.attained < min(answer.bounds.values())
    assert along_orders.orders_view(answer).text.endswith("certified: 1+bounds is the first order that proves it")


def test_what_an_order_does_not_take_is_said_in_its_place():
    answer = last(network="digits/relu-16", norm="2", epsilon_pixel=0.01)
    assert answer.steps["LP-ALL"].bound is None and "lp-all is for boxes" in answer.steps["LP-ALL"].said
    assert "1" in answer.bounds and "1+cuts" in answer.bounds


def test_too_many_neurons_are_refused_before_any_solve():
    network = FeedForward.dense((np.ones((601, 1)), np.ones((2, 601))), (np.zeros(601), np.zeros(2)))
    step = along_orders._step(Question(network, Ball([0.0], 1.0, "inf"), 0, [1]), "1", Limits())
    assert step.said == "Shor's relaxation takes 600 hidden neurons at most, not 601." and step.bound is None


def test_an_order_that_is_stopped_is_no_answer():
    """And those before it are kept: going on asks for what is left."""
    kept, asked = Memo(), []

    def stop():
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(StoppedError):
        list(orders.__wrapped__(parts=kept, stop=stop))
    known = [order for *_, order in kept._kept]
    assert known[0] == "interval" and along_orders.EXACT not in known
