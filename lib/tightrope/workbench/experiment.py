"""One shape for every kind of row: its cases, how a case is solved, and what is shown of the rows.

The module of a printed result declares an :class:`Experiment` and its parts by decorators::

    table_1 = Experiment("demo2027-clean", "table-1-clean-accuracy")

    @table_1.cases                        # its signature is the list of parameters; values come from the notebook
    def cases(networks, images): ...      # parameters -> what identifies each piece of work

    @table_1.solve
    def count_correct(case): ...          # case -> outcome

    @table_1.lines("network | %")
    def accuracies(rows): ...             # rows -> the lines of a table, shown as `solved.accuracies`

    @table_1.drawing(accuracies)
    def draw(rows): ...                   # rows -> Drawing, shown and written by `solved.draw()`

    @table_1.cells
    def cells(rows, images): ...          # rows -> Value by the id of a printed cell, as a mapping or as pairs

A call, ``table_1(profile=profile, networks=networks, images=images)``, solves the cases that have no row yet.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import KW_ONLY, dataclass
from functools import partial, wraps
from inspect import signature
from typing import TYPE_CHECKING, Any

from tightrope.errors import InputError, UnknownNameError, UnknownParameterError
from tightrope.workbench import registry
from tightrope.workbench.cases import sweep
from tightrope.workbench.certificates import Several, Statement
from tightrope.workbench.paper_size import AtPaperSize, at_paper_size
from tightrope.workbench.parameters import check, require_rules
from tightrope.workbench.published import find
from tightrope.workbench.records import KEPT_PROFILES, Store
from tightrope.workbench.registry import Value, drawn_profile, named
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table

if TYPE_CHECKING:
    from tightrope.proofs import Proof

Says = Statement | Several | None
Case = Mapping[str, Any]  # what identifies a piece of work
Row = Mapping[str, Any]  # the same with its outcome
Cases = Iterable[Case]
Lines = Iterable[Sequence[object]]  # of a table
Values = Iterable[tuple[str, Value]]  # our numbers by the id of a printed cell
Names = Sequence[str]  # and other parameters of notebooks
Numbers = Sequence[int]
Radii = Sequence[float]


def _undeclared(*_: object, **__: object) -> Any:
    raise NotImplementedError("declare the cases and the solver of this experiment with its decorators")


@dataclass(eq=False, repr=False)
class Experiment:
    """One kind of row of one paper, under the name of the printed result (`published.yaml`) if it is its main kind.

    Its tables need the rows of the kinds that it `needs`: they are solved with it, and their rows follow its own. Other
    kinds that belong to the same printed result, `also`, are solved by a full run too; one whose cases are made of that
    result's rows names it (`made_of`). It is no error if the parameters leave no case where there `may_be_empty`.
    """

    paper: str
    name: str
    _: KW_ONLY
    needs: Sequence["Experiment"] = ()
    also: Sequence["Experiment"] = ()
    made_of: str = ""
    may_be_empty: bool = False

    def __post_init__(self) -> None:
        self.solver: Callable[[Case], Mapping] = _undeclared
        self.on_workers = True
        self.statement: Callable[[Mapping], Says] = lambda row: None
        self.prover: Callable[[Mapping], Sequence[Sequence[Proof]]] | None = None
        self.tables: dict[str, Callable] = {}
        self.drawings: dict[str, tuple[Callable[[Rows], Any], Callable[[Rows], Table]]] = {}
        self.size: Callable[[Rows], str] = Rows.size
        self._cases: Callable[..., Cases] = _undeclared
        self._cells: Callable[..., Mapping[str, Value]] | None = None
        registry.register(self)

    def cases(self, function: Callable[..., Cases]) -> Callable[..., list[Case]]:
        """Register parameters -> cases; each is what identifies a piece of work, without paper, kind and profile.

        Every parameter has a rule in :data:`tightrope.workbench.parameters.RULES`.
        """
        require_rules(signature(function).parameters, function.__qualname__)

        @wraps(function)
        def cases(*values: Any, **parameters: Any) -> list[Case]:
            return list(function(*values, **parameters))

        self._cases = cases
        return cases

    def solve(self, function: Callable[[Case], Mapping]) -> Callable[[Case], Mapping]:
        """Register case -> outcome: plain data, as it is kept in the row.

        A kind whose solver reads other rows registers it with :meth:`solve_here`: workers read no rows.
        """
        self.solver, self.on_workers = function, True
        return function

    def solve_here(self, function: Callable[[Case], Mapping]) -> Callable[[Case], Mapping]:
        """Register case -> outcome for a kind that is made of other rows: never solved by workers."""
        self.solver, self.on_workers = function, False
        return function

    def states(self, function: Callable[[Mapping], Says]) -> Callable[[Mapping], Says]:
        """Register row -> what it says that a certificate can prove, or None.

        The solver then puts :func:`tightrope.workbench.certificates.proof_of` it into the outcome, as `certificate`;
        or there is a function that :meth:`proves` rows afterwards.
        """
        self.statement = function
        return function

    def proves(self, function: Callable[[Mapping], Sequence[Sequence["Proof"]]]) -> Callable:
        """Register row -> the proofs of each part of its statement, where this takes less than to solve it again."""
        self.prover = function
        return function

    def table(self, function: Callable) -> Callable:
        """Register rows -> Table under the function's name; one that takes more is shown as a function of the rest."""
        self.tables[function.__name__] = function
        return function

    def lines(self, *columns: str, **about: Any) -> Callable[[Callable[..., Lines]], Callable[..., Table]]:
        """Register rows -> the lines of a table with these columns; `about` is what else a :class:`Table` has.

        A text may hold several columns, as the head of a table does: "norm | radius".
        """
        names = [name for text in columns for name in text.split(" | ")]

        def register(function: Callable[..., Lines]) -> Callable[..., Table]:
            @wraps(function)
            def table(*rows: Any) -> Table:
                return Table(names, tuple(function(*rows)), **about)

            return self.table(table)

        return register

    def drawing(self, numbers: Callable[[Rows], Table]) -> Callable[[Callable], Callable]:
        """Register rows -> Drawing under the function's name, ``draw`` or ``draw_<part>``.

        `numbers` makes of the rows, and of what the drawing takes beside them, the numbers that are written beside it.
        """

        def register(function: Callable[[Rows], Any]) -> Callable[[Rows], Any]:
            self.drawings[function.__name__] = function, numbers
            return function

        return register

    def cells(self, function: Callable[..., Any]) -> Callable[..., dict[str, Value]]:
        """Register rows and some of the notebook's parameters (by name) -> Value by the id of a printed cell.

        A cell whose cases are not all there is left out.
        """

        @wraps(function)
        def values(*rows: Rows, **parameters: Any) -> dict[str, Value]:
            return dict(function(*rows, **parameters))

        self._cells = values
        return values

    def sized(self, function: Callable[[Rows], str]) -> Callable[[Rows], str]:
        """Register rows -> how much they are about, in words, where that is not :meth:`Rows.size`."""
        self.size = function
        return function

    def part(self, cases: Callable[..., Cases]) -> "Experiment":
        """Return the same kind of row with fewer cases, for a result that needs only these."""
        fewer = self._copy(needs=(), also=(), _cells=None)
        fewer.cases(cases)
        return fewer

    def same(self, name: str) -> "Experiment":
        """Return another result of the paper whose rows are made and shown as these; what it declares is its own."""
        other = self._copy(name=name, tables=dict(self.tables), drawings=dict(self.drawings))
        registry.register(other)
        return other

    def _copy(self, **changed: object) -> "Experiment":
        other = copy(self)
        vars(other).update(changed)
        return other

    @property
    def printed(self) -> dict[str, float]:
        """What the paper prints in this table or figure, by the id of the cell."""
        return {cell.id: cell.printed for cell in find(f"{self.paper}/{self.name}").cells}

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of what its cases are made of."""
        return tuple(signature(self._cases).parameters)

    @property
    def solvers(self) -> dict[str, Callable[[Case], Mapping]]:
        """By kind of row, what turns a case into an outcome on a worker."""
        return {kind.name: kind.solver for kind in self._kinds if kind.on_workers}

    @property
    def _kinds(self) -> tuple["Experiment", ...]:
        return (self, *self.needs, *self.also)

    def own_cases(self, profile: str, parameters: Mapping[str, Any]) -> list[dict]:
        """Return the cases of this kind alone, as rows are identified; of just its parameters, each by its rule."""
        for name in parameters:
            if name not in self.parameters:
                raise UnknownParameterError(f"parameter of {self.name}", name, self.parameters)
        missing = [name for name in self.parameters if name not in parameters]
        if missing:
            raise InputError(f"{self.name}: expected a value of {', '.join(missing)}.")
        check(parameters)
        head = {"paper": self.paper, "result": self.name, "profile": profile}
        return [{**head, **case} for case in self._cases(**parameters)]

    def all_cases(self, parameters: Mapping[str, Any]) -> list[dict]:
        """Return the cases of a full run: of this kind and of those beside it that are known before any is solved.

        The parameters are all of the notebook's, `profile` among them; each kind takes those that it has.
        """
        check({name: value for name, value in parameters.items() if name != "profile"})
        own = ((kind, {n: parameters[n] for n in kind.parameters if n in parameters}) for kind in self._kinds)
        return [case for kind, some in own for case in kind.own_cases(parameters["profile"], some)]

    def values(self, rows: Iterable[dict], parameters: Mapping[str, Any]) -> Mapping[str, Value]:
        """Return our numbers by the id of a printed cell, from rows of this kind and the notebook's parameters."""
        if self._cells is None:
            return {}
        needed = [row for kind in self.needs for row in kind.kept(parameters["profile"])]
        names = list(signature(self._cells).parameters)[1:]
        return self._cells(Rows((*rows, *needed)), **{name: parameters[name] for name in names})

    def kept(self, profile: str, **equal: object) -> Rows:
        """Return the rows that are kept and have these values, without solving."""
        with Store() as store:
            return Rows(store.rows(self.name, profile, self.paper)).where(**equal)

    def kept_or_solved(self, case: Case, *others: "Experiment") -> dict:
        """Return the outcome of a case that is also one of this kind, or of others: of the first row that is kept here.

        A worker on another machine has no rows, and solves it as one of this kind.
        """
        with Store() as store:
            for kind in (self, *others):
                if (row := store.get({**case, "result": kind.name})) is not None:
                    known = {*case, "versions", "created", "key"}
                    return {name: value for name, value in row.items() if name not in known}
        return dict(self.solver({**case, "result": self.name}))

    def at_paper_size(self) -> AtPaperSize:
        """Return the drawings and the printed numbers beside ours from the kept rows of the paper profile; no solve."""
        return at_paper_size(find(f"{self.paper}/{self.name}"))

    def __call__(self, profile: str = "quick", store: Store | None = None, **parameters: Any) -> "Solved":
        """Return the rows of all cases; those without one are solved now, and kept one by one.

        Rows are kept in the store, this machine's if None, under the name of the profile; "custom" if the parameters,
        those of the functions that make the cases of this kind and of those that it needs, are not that profile's.
        """
        kinds = (self, *self.needs)
        known = dict.fromkeys(name for kind in kinds for name in kind.parameters)
        for name in parameters:
            if name not in known:
                raise UnknownParameterError(f"parameter of {self.name}", name, known)
        rows: list[dict] = []
        with Store() if store is None else nullcontext(store) as opened:
            for kind in reversed(kinds):  # what it needs is solved first
                cases = kind.own_cases(profile, {n: v for n, v in parameters.items() if n in kind.parameters})
                if not cases and not kind.may_be_empty:
                    raise InputError(f"{kind.name}: nothing to solve, no case is left with these parameters.")
                rows = kind._rows(named(cases) if store is None else cases, opened) + rows
        return Solved(self, rows)

    def _rows(self, cases: Sequence[Case], store: Store) -> list[dict]:
        rows = list(sweep(store, cases, self.solver))
        for profile in {case["profile"] for case in cases}.intersection(KEPT_PROFILES):  # the CSV that is committed
            store.export_csv(self.paper, self.name, profile)
        return rows


class Solved:
    """Rows of an experiment, one for each case; its tables are attributes, its drawings methods.

    A drawing is also written under figures/, with its numbers.
    """

    def __init__(self, experiment: Experiment, rows: Iterable[dict]):
        self.experiment, self.rows = experiment, Rows(rows)

    def __getattr__(self, name: str) -> Any:
        experiment = self.__dict__.get("experiment")
        if experiment is None or name.startswith("_"):
            raise AttributeError(name)
        if name in experiment.drawings:
            return partial(self._draw, name)
        if name not in experiment.tables:
            raise AttributeError(str(UnknownNameError(f"table of {experiment.name}", name, self._shown())))
        function = experiment.tables[name]
        return function(self.rows) if len(signature(function).parameters) == 1 else partial(function, self.rows)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._shown()]

    def __repr__(self) -> str:
        return f"<{self.experiment.name}: {len(self.rows)} rows; shows {', '.join(self._shown())}>"

    def _shown(self) -> list[str]:
        return [*self.experiment.tables, *self.experiment.drawings]

    def _draw(self, name: str, *more: Any) -> Any:
        function, numbers = self.experiment.drawings[name]
        drawing = function(self.rows, *more)
        file = self.experiment.name + name.removeprefix("draw").replace("_", "-")
        drawing.save(self.experiment.paper, f"{file}.{drawn_profile(self.rows)}", numbers(self.rows, *more))
        return drawing
