"""Whatever a person gives a notebook parameter, it is refused by name or it makes cases."""

from contextlib import suppress

import pytest

from tightrope.errors import TightropeError
from tightrope.workbench import published, runner

NUMBERS = (None, True, -1, 0, 1.5)
NAMES = ("nothing", "box", "digits/fc-natural")
LISTS = ([], [0], [None], ["nothing"], ["digits/fc-natural"], ["digits/mondeq-16"], [[1, 2]], [["nothing"]], [{}])
VALUES = (*NUMBERS, *NAMES, *LISTS, {"a": 1})


@pytest.mark.long
@pytest.mark.parametrize("result", [one for one in published.results() if one.runnable], ids=lambda one: one.name)
def test_a_value_is_refused_by_name_or_makes_cases(result):
    """One parameter at a time: no other error than a named one."""
    for name in runner.defaults(result):
        if name != "profile":
            for value in VALUES:
                with suppress(TightropeError):
                    runner.prepare(result, "quick", {name: value})
