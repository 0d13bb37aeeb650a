"""Table 1: lower and upper bounds of the robust error by attacks, LP-GREEDY, LP-ALL and an exact verifier.

Two kinds of rows. Test error and LP-GREEDY cost milliseconds an image and are for all test images; the cascade
(:mod:`tightrope.verifiers.cascade`) decides the first images, group by group, and a row keeps one letter for each of
them: what decided it. Every column of the table follows from the letters.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tightrope.experiments import figures
from tightrope.experiments.published import find
from tightrope.experiments.records import Store
from tightrope.experiments.registry import Value, drawn_profile
from tightrope.experiments.salman2019_barrier.common import (
    PAPER,
    dataset,
    entry,
    groups,
    make_case,
    questions,
    solved,
    title,
)
from tightrope.experiments.tables import Table
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.verifiers.cascade import LP_ALL, By, decide

TABLE_1 = "table-1-robust-error"
GREEDY = "table-1-lp-greedy"
GROUP, WHOLE = 50, 1000  # images of one row of the cascade, and of LP-GREEDY
LEAST = 1000  # images, the first ones, for which a line's gap is put beside the printed one


@dataclass(frozen=True)
class ErrorBounds:
    """One line of Table 1, in counts of images.

    Attributes
    ----------
    images : int
        Decided by the cascade, from the first on.
    letters : str
        What decided each (:class:`tightrope.verifiers.cascade.By`).
    whole : int
        Images of the two columns that follow; 0 if they were not computed.
    wrong, not_greedy : int
        Labelled wrongly; not certified by LP-GREEDY.
    """

    network: str
    epsilon_pixel: float
    images: int
    letters: str
    whole: int
    wrong: int
    not_greedy: int
    seconds: float
    slowest: float

    @property
    def name(self) -> str:
        """The line in a cell's id, such as ``adv-mlp-b-0.03``."""
        return f"{title(self.network).lower()}-{self.epsilon_pixel:g}"

    def count(self, *kinds: By) -> int:
        """How many were decided by these."""
        return sum(self.letters.count(kind.value) for kind in kinds)

    @property
    def foolbox(self) -> int:
        """Images that are labelled wrongly or that Foolbox's PGD attacks."""
        return self.count(By.WRONG, By.FOOLBOX)

    @property
    def attacked(self) -> int:
        """Images with a known adversarial point: the exact verifier's lower bound."""
        return self.count(By.WRONG, By.FOOLBOX, By.PGD, By.TREE_ATTACK)

    @property
    def not_certified(self) -> int:
        """The exact verifier's upper bound: with an adversarial point, or open."""
        return self.attacked + self.count(By.NOTHING)

    @property
    def not_lp_all(self) -> int:
        """Images that LP-ALL does not certify."""
        return self.images - self.count(*LP_ALL)

    @property
    def not_lp_greedy(self) -> int:
        """Of the cascade's images, those that LP-GREEDY does not certify."""
        return self.images - self.count(By.GREEDY)


@dataclass(frozen=True)
class Table1:
    """Rows of Table 1 and what is shown of them."""

    rows: tuple[dict, ...]
    greedy: tuple[dict, ...]

    @cached_property
    def lines(self) -> tuple[ErrorBounds, ...]:
        """One line for each network and radius."""
        return tuple(line for line in error_bounds(self.rows, self.greedy) if line.images)

    @property
    def errors(self) -> Table:
        """The table, in percent, the printed number in brackets beside each."""
        return error_table(self.lines)

    @property
    def methods(self) -> Table:
        """How many images each method decided."""
        return method_table(self.lines)

    @property
    def seconds(self) -> Table:
        """Seconds of an image by the method that was asked, attacks and bounds together."""
        return seconds_table(self.rows)

    def draw(self) -> figures.Drawing:
        """Draw the bounds of each line; write the picture under figures/."""
        bars = [
            (f"{title(line.network)}  {line.epsilon_pixel:g}",
             *(100 * n / line.images for n in (line.count(By.WRONG), line.foolbox, line.attacked, line.not_certified,
                                               line.not_lp_all, line.not_lp_greedy)))
            for line in self.lines
        ]  # fmt: skip
        drawing = figures.error_bars(bars, title="bounds of the robust error")
        drawing.save(PAPER, f"{TABLE_1}.{drawn_profile(self.rows)}", self.errors)
        return drawing


def table_1(
    networks: Sequence[Sequence],
    images: int,
    time_limit: float = 60.0,
    subproblems: int = 60000,
    seed: int = 0,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Table1:
    """Table 1: lower and upper bounds of the robust error.

    Parameters
    ----------
    networks
        Pairs of a name of the zoo and a radius in pixel units.
    images
        How many test images the cascade decides, from the first on. LP-GREEDY and the test error are for all.
    time_limit, subproblems
        Limits of branch and bound for one image: seconds, and a number that is the same on every machine.
    seed
        Of the attacks.
    profile
        Under which name the rows are kept; "custom" if the other parameters are not those of that profile.
    store, solve
        Where rows are kept, and how a group of images is decided (:func:`decide_group`); replaced in tests.
    """
    parameters = dict(
        networks=networks, images=images, time_limit=time_limit, subproblems=subproblems, seed=seed, profile=profile
    )
    greedy = solved(greedy_cases(parameters), greedy_group, store)
    return Table1(solved(cascade_cases(parameters), solve or decide_group, store), greedy)


def table_1_cases(parameters: Mapping) -> list[dict]:
    """The cases of both kinds."""
    return greedy_cases(parameters) + cascade_cases(parameters)


def cascade_cases(parameters: Mapping) -> list[dict]:
    """One case for each network, radius and group of images."""
    options = {name: parameters[name] for name in ("seed", "subproblems")}
    options["time_limit"] = float(parameters["time_limit"])
    return [
        make_case(TABLE_1, parameters["profile"], network, epsilon, "cascade", options, **group)
        for network, epsilon in parameters["networks"]
        for group in groups(parameters["images"], GROUP, dataset(entry(network).dataset))
    ]


def greedy_cases(parameters: Mapping) -> list[dict]:
    """One case for each network, radius and thousand of all test images."""
    found = []
    for network, epsilon in parameters["networks"]:
        data = dataset(entry(network).dataset)
        for group in groups(len(data), WHOLE, data):
            found.append(make_case(GREEDY, parameters["profile"], network, epsilon, "lp-greedy", {}, **group))
    return found


def greedy_group(case: Mapping) -> dict:
    """Count wrong labels, and images that LP-GREEDY does not certify."""
    found, balls, labels = questions(case)
    began = time.perf_counter()
    wrong = int((found.network.predict(np.stack([ball.center for ball in balls])) != np.array(labels)).sum())
    inputs = InputSet.from_balls(balls)
    proven = certify(found.network, inputs, labels, "deepz", batch=32)
    others = np.asarray(proven.worst)
    return {
        "wrong": wrong,
        "not_certified": int((~proven.certified).sum()),
        "closest_to_0": float(others[np.abs(others).argmin()]),
        "seconds": round(time.perf_counter() - began, 3),
    }


def decide_group(case: Mapping) -> dict:
    """Decide each image of a group by the cascade."""
    found, balls, labels = questions(case)
    options = case["options"]
    began = time.perf_counter()
    decisions = decide(found.network, balls, labels, **options)
    spent: dict[str, list[float]] = {}
    for decision in decisions:
        for by, seconds in decision.seconds.items():
            spent.setdefault(by, []).append(seconds)
    return {
        "decided_by": "".join(decision.by.value for decision in decisions),
        # Open after LP-ALL: image, its bound, the greedy one, and subproblems of branch and bound.
        "after_lp_all": [
            [case["first"] + i, round(d.lp_all, 5), round(d.greedy, 5), d.subproblems]
            for i, d in enumerate(decisions)
            if d.lp_all is not None and d.by not in LP_ALL
        ],
        "open": [[case["first"] + i, d.reason] for i, d in enumerate(decisions) if d.by is By.NOTHING],
        "seconds_by": {by: [len(s), round(sum(s), 3), round(max(s), 3)] for by, s in sorted(spent.items())},
        "seconds": round(time.perf_counter() - began, 3),
    }


# ------------------------------------------------------------------------------------ pure functions of rows


def error_bounds(rows: Sequence[Mapping], greedy: Sequence[Mapping] = ()) -> tuple[ErrorBounds, ...]:
    """One line for each network and radius, in the order of the rows; those with LP-GREEDY alone come last."""
    lines = []
    for network, epsilon in dict.fromkeys((row["network"], row["epsilon_pixel"]) for row in (*rows, *greedy)):
        own = [row for row in rows if (row["network"], row["epsilon_pixel"]) == (network, epsilon)]
        own.sort(key=lambda row: row["first"])
        whole = [row for row in greedy if (row["network"], row["epsilon_pixel"]) == (network, epsilon)]
        letters = "".join(row["decided_by"] for row in own)
        slowest = max((row["seconds_by"].get(By.TREE.value, [0, 0, 0])[2] for row in own), default=0.0)
        lines.append(
            ErrorBounds(
                network, epsilon, len(letters), letters, sum(row["count"] for row in whole),
                sum(row["wrong"] for row in whole), sum(row["not_certified"] for row in whole),
                sum(row["seconds"] for row in own), slowest,
            )
        )  # fmt: skip
    return tuple(lines)


#: Column -> (title, images by count, all images by count or None).
COLUMNS = {
    "test-error": ("test error", lambda line: line.count(By.WRONG), lambda line: line.wrong),
    "pgd": ("PGD", lambda line: line.foolbox, None),
    "milp-lower": ("exact, lower", lambda line: line.attacked, None),
    "milp-upper": ("exact, upper", lambda line: line.not_certified, None),
    "lp-all": ("LP-ALL", lambda line: line.not_lp_all, None),
    "lp-greedy": ("LP-GREEDY", lambda line: line.not_lp_greedy, lambda line: line.not_greedy),
}


def _value(line: ErrorBounds, column: str) -> float:
    """In percent: of all test images where they were all looked at, else of the cascade's."""
    _, part, whole = COLUMNS[column]
    if whole is not None and line.whole:
        return 100 * whole(line) / line.whole
    return 100 * part(line) / line.images


def error_table(lines: Sequence[ErrorBounds]) -> Table:
    """Every column in percent, the printed number in brackets where there is one."""
    printed = {cell.id: cell.printed for cell in find(f"{PAPER}/{TABLE_1}").cells}
    rows = []
    for line in lines:
        shown = []
        for column in COLUMNS:
            paper = printed.get(f"table-1/{line.name}/{column}")
            shown.append(f"{_value(line, column):.2f}" + (f" ({paper:.2f})" if paper is not None else ""))
        rows.append((title(line.network), line.epsilon_pixel, line.images, *shown))
    return Table(("network", "epsilon", "images", *(head for head, _, _ in COLUMNS.values())), tuple(rows))


_METHODS = {
    "wrong label": (By.WRONG,), "LP-GREEDY": (By.GREEDY,), "CROWN": (By.CROWN,), "Foolbox": (By.FOOLBOX,),
    "targeted PGD": (By.PGD,), "LP-ALL, dual": (By.DUAL,), "LP-ALL, HiGHS": (By.PROGRAM,),
    "branch and bound": (By.TREE,), "its attack": (By.TREE_ATTACK,), "open": (By.NOTHING,),
}  # fmt: skip


def method_table(lines: Sequence[ErrorBounds]) -> Table:
    """How many images each method decided, the cheapest first."""
    rows = [
        (title(line.network), line.epsilon_pixel, line.images, *(line.count(*kinds) for kinds in _METHODS.values()))
        for line in lines
    ]
    return Table(("network", "epsilon", "images", *_METHODS), tuple(rows))


def seconds_table(rows: Sequence[Mapping]) -> Table:
    """Mean and largest seconds of an image for each method that was asked, by network and radius."""
    kinds = {"Foolbox": By.FOOLBOX, "targeted PGD": By.PGD, "LP-ALL, dual": By.DUAL, "LP-ALL, HiGHS": By.PROGRAM,
             "branch and bound": By.TREE}  # fmt: skip
    lines = []
    for network, epsilon in dict.fromkeys((row["network"], row["epsilon_pixel"]) for row in rows):
        own = [row for row in rows if (row["network"], row["epsilon_pixel"]) == (network, epsilon)]
        for name, by in kinds.items():
            spent = [row["seconds_by"][by.value] for row in own if by.value in row["seconds_by"]]
            if spent:
                count, total = sum(s[0] for s in spent), sum(s[1] for s in spent)
                most = max(s[2] for s in spent)
                lines.append((title(network), epsilon, name, count, round(total / count, 3), round(most, 2)))
    return Table(("network", "epsilon", "method", "images", "mean s", "largest s"), tuple(lines))


def table_1_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our numbers for the printed cells, of the lines whose test images are all decided; gaps for the first ones."""
    with Store() as store:
        greedy = store.rows(GREEDY, parameters["profile"], PAPER)
    values = {}
    data = {row["network"]: row["dataset"] for row in (*rows, *greedy)}
    for line in error_bounds(rows, greedy):
        every = _test_images(data[line.network])
        for column, (_, _, whole) in COLUMNS.items():
            # What is printed is for all test images: a part of them is no number to put beside it.
            if line.images == every or (whole is not None and line.whole == every):
                values[f"table-1/{line.name}/{column}"] = Value(_value(line, column))
        if line.images and line.images >= min(LEAST, parameters["images"]):
            gap = 100 * (line.not_certified - line.attacked) / line.images
            values[f"table-1/{line.name}/milp-gap"] = Value(gap, f"{line.images} images, branch and bound")
    return values


def _test_images(name: str) -> int:
    """How many test images a data set has, without its file: numbers are compared where MNIST is not at hand."""
    return 10_000 if name == "mnist" else len(dataset(name))
