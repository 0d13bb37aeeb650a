"""The shape that results have until they are declared by `workbench.experiment`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps

from tightrope.workbench.parameters import LISTS_OF_PARAMETERS, RULES, Rule, _require, check
from tightrope.workbench.registry import Value


@dataclass(frozen=True)
class Experiment:
    """How one printed result is computed; `cases` and `cells` take the parameters of its notebook."""

    cases: Callable[[Mapping], list[dict]]
    cells: Callable[[Sequence[Mapping], Mapping], dict[str, Value]]
    solve: Mapping[str, Callable[[Mapping], Mapping]] = field(default_factory=dict)

    def all_cases(self, parameters):
        """See `workbench.experiment`."""
        return self.cases(parameters)

    def values(self, rows, parameters):
        """See `workbench.experiment`."""
        return self.cells(rows, parameters)

    @property
    def solvers(self):
        """See `workbench.experiment`."""
        return self.solve


def checked(**own: Rule):
    """Check the parameters that cases are made of, by RULES and a result's own rules."""

    def decorate(cases):
        @wraps(cases)
        def of_checked(parameters: Mapping) -> list[dict]:
            known = {n: v for n, v in parameters.items() if n not in own and (n in RULES or n in LISTS_OF_PARAMETERS)}
            check(known)
            for name, rule in own.items():
                if name in parameters:
                    _require(name, parameters[name], rule)
            return cases(parameters)

        return of_checked

    return decorate
