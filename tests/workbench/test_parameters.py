"""Parameters of notebooks: each has a rule, and what cannot be is refused by name before anything is solved."""

import pytest

from tightrope.errors import InputError, MissingDataError
from tightrope.workbench import published, runner
from tightrope.workbench.parameters import LISTS_OF_PARAMETERS, RULES, check, rows_of
from tightrope.workbench.registry import experiment

RESULTS = [result for result in published.results() if result.runnable]
WRONG = (-3, 0.5, float("nan"), float("inf"), True, None, "nope", "", [], ["nope"], [float("nan")], [[]], {"a": 1})


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.key)
def test_whatever_a_parameter_is_given_is_taken_or_refused_by_name(result):
    """No TypeError, KeyError or zip() from inside; one parameter is wrong at a time."""
    defaults = runner.defaults(result)
    assert experiment(result).all_cases(defaults)
    for name in set(defaults) - {"profile"}:
        for wrong in WRONG:
            try:
                experiment(result).all_cases({**defaults, name: wrong})
            except (InputError, MissingDataError) as error:
                assert str(error)


def test_every_parameter_has_a_rule():
    """Or is a list of parameters that have one."""
    for result in RESULTS:
        for name in runner.defaults(result):
            assert name in RULES or name in LISTS_OF_PARAMETERS, f"{result.key}: {name}"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epsilon_pixel", -0.1, "finite number >= 0, got -0.1"),
        ("epsilons", [0.1, float("nan")], "got nan"),
        ("epsilon_pixel", [0.1], "got [0.1]"),
        ("images", 2.5, "integer of at least 1, got 2.5"),
        ("images", True, "got True"),
        ("sizes", [[80, 80], [40, "40"]], "got '40'"),
        ("methods", "shor", "a list, each entry a name; got 'shor'"),
        ("methods", [], "at least one entry"),
        ("clip", "yes", "True or False"),
        ("runs", [{"epochs": 0}], "epochs: expected an integer of at least 1, got 0"),
        ("runs", [3], "parameters by name"),
    ],
)
def test_the_error_says_what_arrived(name, value, words):
    """And what to write instead."""
    with pytest.raises(InputError, match=name if name != "runs" else "runs|epochs") as caught:
        check({name: value})
    assert words in str(caught.value)


def test_ends_are_in_order():
    """lower < upper."""
    with pytest.raises(InputError, match="lower must be below upper"):
        check({"lower": 2.0, "upper": 1.0})


def test_lists_that_belong_together_are_as_long():
    """The error counts them."""
    assert list(rows_of(a=[1, 2], b=(3, 4))) == [(1, 3), (2, 4)]
    with pytest.raises(InputError, match="2 networks, 1 images"):
        rows_of(networks=["a", "b"], images=[3])
