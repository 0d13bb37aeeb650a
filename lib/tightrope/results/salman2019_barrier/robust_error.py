"""Table 1: lower and upper bounds of the robust error by attacks, LP-GREEDY, LP-ALL and an exact verifier.

Two kinds of rows, both made by the cascade (:mod:`tightrope.verifiers.cascade`), group by group of images; a row keeps
one letter for each image: what decided it. Up to LP-ALL an image costs some hundredths of a second, and all test images
are done; with branch and bound the first ones are. Every column of the table follows from the letters.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tightrope import figures
from tightrope.errors import InputError
from tightrope.results.salman2019_barrier.common import PAPER, entry, make_case, questions, title
from tightrope.verifiers.cascade import LP_ALL, NEAR, By, Decision, decide
from tightrope.workbench.cases import dataset, groups, solved
from tightrope.workbench.parameters import checked
from tightrope.workbench.published import find
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_1 = "table-1-robust-error"
UP_TO_LP_ALL = "table-1-lp-all"
GROUP, WHOLE = 50, 500  # images of one row with branch and bound, and up to LP-ALL
LEAST = 1000  # images, the first ones, for which a line's gap is put beside the printed one


@dataclass(frozen=True)
class ErrorBounds:
    """One line of Table 1, in counts of images.

    Attributes
    ----------
    letters : str
        What decided each image (:class:`tightrope.verifiers.cascade.By`), from the first on, with branch and bound.
    whole : str
        The same up to LP-ALL, of all test images as far as they are done.
    time_limit : float
        Of branch and bound, seconds an image.
    """

    network: str
    epsilon_pixel: float
    letters: str
    whole: str
    time_limit: float
    seconds: float
    slowest: float

    @property
    def name(self) -> str:
        """The line in a cell's id, such as ``adv-mlp-b-0.03``."""
        return f"{title(self.network).lower()}-{self.epsilon_pixel:g}"

    @property
    def images(self) -> int:
        """How many images branch and bound was asked about, those that something cheaper decided included."""
        return len(self.letters)

    @property
    def every(self) -> str:
        """The best letter that is known of each image."""
        return self.letters + self.whole[len(self.letters) :]


#: Columns -> what is counted.
NOT_LP_ALL = tuple(by for by in By if by not in LP_ALL)
NOT_LP_GREEDY = tuple(by for by in By if by is not By.GREEDY)
FOOLBOX = (By.WRONG, By.FOOLBOX)
ATTACKED = (*FOOLBOX, By.PGD, By.TREE_ATTACK)
NOT_CERTIFIED = (*ATTACKED, By.NOTHING)


def percent(letters: str, kinds: Sequence[By]) -> float:
    """The share of images that were decided by these.

    Examples
    --------
    >>> percent("ggwp", ATTACKED)
    50.0
    """
    return 100 * sum(letters.count(kind.value) for kind in kinds) / len(letters)


@dataclass(frozen=True)
class Table1:
    """Rows of Table 1 and what is shown of them."""

    rows: tuple[dict, ...]
    cheap: tuple[dict, ...]

    @cached_property
    def lines(self) -> tuple[ErrorBounds, ...]:
        """One line for each network and radius."""
        return error_bounds(self.rows, self.cheap)

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
        """Draw the bounds of each line, over the images of branch and bound; write the picture under figures/."""
        shown = ((By.WRONG,), FOOLBOX, ATTACKED, NOT_CERTIFIED, NOT_LP_ALL, NOT_LP_GREEDY)
        bars = [
            (f"{title(line.network)}  {line.epsilon_pixel:g}", *(percent(line.letters, kinds) for kinds in shown))
            for line in self.lines
            if line.letters
        ]
        drawing = figures.error_bars(bars, title="bounds of the robust error, first test images")
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
        A name of the zoo and a radius in pixel units each; then, if wanted, this line's own `time_limit` and `images`.
    images
        How many test images branch and bound decides, from the first on. The columns up to LP-ALL are for all.
    time_limit, subproblems
        Limits of branch and bound for one image: processor seconds, and a number that is the same on every machine.
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
    cheap = solved(cheap_cases(parameters), cheap_group, store)
    return Table1(solved(cascade_cases(parameters), solve or decide_group, store), cheap)


def table_1_cases(parameters: Mapping) -> list[dict]:
    """The cases of both kinds."""
    return cheap_cases(parameters) + cascade_cases(parameters)


@checked()
def cascade_cases(parameters: Mapping) -> list[dict]:
    """One case for each network, radius and group of the first images."""
    options = {name: parameters[name] for name in ("seed", "subproblems")}
    return [
        make_case(
            TABLE_1, parameters["profile"], network, epsilon, "cascade", {**options, "time_limit": limit}, **group
        )
        for network, epsilon, limit, images in _lines(parameters)
        for group in groups(images, GROUP, dataset(entry(network).dataset))
    ]


def _lines(parameters: Mapping) -> list[tuple[str, float, float, int]]:
    """Network, radius, seconds and images of branch and bound of each line."""
    for line in parameters["networks"]:
        if not isinstance(line, list | tuple) or not 2 <= len(line) <= 4:
            raise InputError(f"networks: expected [name, radius], then seconds, then images, if wanted; got {line!r}.")
    usual = (parameters["time_limit"], parameters["images"])
    lines = [(name, epsilon, *own, *usual[len(own) :]) for name, epsilon, *own in parameters["networks"]]
    return [(name, float(epsilon), float(limit), images) for name, epsilon, limit, images in lines]


@checked()
def cheap_cases(parameters: Mapping) -> list[dict]:
    """One case for each network, radius and group of all test images."""
    found, options = [], {"seed": parameters["seed"]}
    for network, epsilon, *_ in _lines(parameters):
        data = dataset(entry(network).dataset)
        for group in groups(len(data), WHOLE, data):
            found.append(make_case(UP_TO_LP_ALL, parameters["profile"], network, epsilon, "lp-all", options, **group))
    return found


def cheap_group(case: Mapping) -> dict:
    """Decide each image of a group as far as LP-ALL can."""
    decisions, outcome = _decide(case, time_limit=0)
    # The images for which LP-ALL, or LP-GREEDY, is closest to certifying or to not certifying.
    return {
        "decided_by": outcome["decided_by"],
        "near_lp_all": [
            [case["first"] + i, round(d.lp_all, 6)]
            for i, d in enumerate(decisions)
            if d.lp_all is not None and abs(d.lp_all) < NEAR
        ],
        "near_lp_greedy": [
            [case["first"] + i, round(d.greedy, 6)] for i, d in enumerate(decisions) if abs(d.greedy) < NEAR
        ],
        "seconds_by": outcome["seconds_by"],
        "seconds": outcome["seconds"],
    }


def decide_group(case: Mapping) -> dict:
    """Decide each image of a group by the whole cascade."""
    decisions, outcome = _decide(case)
    return {
        "decided_by": outcome["decided_by"],
        # Open after LP-ALL: image, its bound, the greedy one, and subproblems of branch and bound.
        "after_lp_all": [
            [case["first"] + i, round(d.lp_all, 5), round(d.greedy, 5), d.subproblems]
            for i, d in enumerate(decisions)
            if d.lp_all is not None and d.by not in LP_ALL
        ],
        "open": [[case["first"] + i, d.reason] for i, d in enumerate(decisions) if d.by is By.NOTHING],
        "seconds_by": outcome["seconds_by"],
        "seconds": outcome["seconds"],
    }


def _decide(case: Mapping, **more) -> tuple[list[Decision], dict]:
    """The decisions of a case, and what every row says of them."""
    found, balls, labels = questions(case)
    began = time.process_time()
    decisions = decide(found.network, balls, labels, **case["options"], **more)
    spent: dict[str, list[float]] = {}
    for decision in decisions:
        for by, seconds in decision.seconds.items():
            spent.setdefault(by, []).append(seconds)
    return decisions, {
        "decided_by": "".join(decision.by.value for decision in decisions),
        # By method: images that were asked, their processor seconds together, those of the slowest.
        "seconds_by": {by: [len(s), round(sum(s), 3), round(max(s), 3)] for by, s in sorted(spent.items())},
        "seconds": round(time.process_time() - began, 3),
    }


# ------------------------------------------------------------------------------------ pure functions of rows


def error_bounds(rows: Sequence[Mapping], cheap: Sequence[Mapping] = ()) -> tuple[ErrorBounds, ...]:
    """One line for each network and radius, in the order of the rows that go up to LP-ALL."""
    lines = []
    for line in dict.fromkeys((row["network"], row["epsilon_pixel"]) for row in (*cheap, *rows)):
        own, whole = (
            sorted(
                (row for row in kind if (row["network"], row["epsilon_pixel"]) == line), key=lambda row: row["first"]
            )
            for kind in (rows, cheap)
        )
        slowest = max((row["seconds_by"].get(By.TREE.value, [0, 0, 0])[2] for row in own), default=0.0)
        limits = {row["options"]["time_limit"] for row in own}
        lines.append(
            ErrorBounds(*line, _letters(own), _letters(whole), max(limits, default=0.0),
                        sum(row["seconds"] for row in own), slowest)
        )  # fmt: skip
    return tuple(lines)


def _letters(rows: Sequence[Mapping]) -> str:
    """Those of the images from the first on, up to the first group that is missing."""
    letters = ""
    for row in rows:
        if row["first"] == len(letters):
            letters += row["decided_by"]
    return letters


#: Column -> (title, letters that are counted, whether branch and bound is needed).
COLUMNS = {
    "test-error": ("test error", (By.WRONG,), False),
    "pgd": ("PGD", FOOLBOX, False),
    "milp-lower": ("exact, lower", ATTACKED, True),
    "milp-upper": ("exact, upper", NOT_CERTIFIED, True),
    "lp-all": ("LP-ALL", NOT_LP_ALL, False),
    "lp-greedy": ("LP-GREEDY", NOT_LP_GREEDY, False),
}


def error_table(lines: Sequence[ErrorBounds]) -> Table:
    """Every column in percent, the printed number in brackets where there is one.

    Bounds of the exact verifier are for the first images, the other columns for all.
    """
    printed = {cell.id: cell.printed for cell in find(f"{PAPER}/{TABLE_1}").cells}
    rows = []
    for line in lines:
        shown = []
        for column, (_, kinds, by_tree) in COLUMNS.items():
            paper = printed.get(f"table-1/{line.name}/{column}")
            letters = line.letters if by_tree else line.whole
            ours = f"{percent(letters, kinds):.2f}" if letters else "-"
            shown.append(ours + (f" ({paper:.2f})" if paper is not None else ""))
        rows.append((title(line.network), line.epsilon_pixel, len(line.whole), *shown, line.images))
    heads = (head for head, _, _ in COLUMNS.values())
    return Table(("network", "epsilon", "images", *heads, "images of exact"), tuple(rows))


_METHODS = {
    "wrong label": (By.WRONG,), "LP-GREEDY": (By.GREEDY,), "CROWN": (By.CROWN,), "Foolbox": (By.FOOLBOX,),
    "targeted PGD": (By.PGD,), "LP-ALL, dual": (By.DUAL,), "LP-ALL, HiGHS": (By.PROGRAM,),
    "branch and bound": (By.TREE,), "its attack": (By.TREE_ATTACK,), "open": (By.NOTHING,),
}  # fmt: skip


def method_table(lines: Sequence[ErrorBounds]) -> Table:
    """How many of the first images each method decided, the cheapest first."""
    rows = [
        (title(line.network), line.epsilon_pixel, line.images,
         *(sum(line.letters.count(kind) for kind in kinds) for kinds in _METHODS.values()))
        for line in lines
    ]  # fmt: skip
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
                lines.append((title(network), epsilon, name, count, round(total / count, 3), round(most, 3)))
    return Table(("network", "epsilon", "method", "images", "mean s", "largest s"), tuple(lines))


def table_1_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our numbers for the printed cells: of the lines that are done for all test images; gaps for the first ones."""
    with Store() as store:
        cheap = store.rows(UP_TO_LP_ALL, parameters["profile"], PAPER)
    values = {}
    data = {row["network"]: row["dataset"] for row in (*rows, *cheap)}
    for line in error_bounds(rows, cheap):
        every = _test_images(data[line.network])
        for column, (_, kinds, _) in COLUMNS.items():
            # What is printed is for all test images: a part of them is no number to put beside it. An upper bound of
            # the exact verifier needs it for each of them; a lower bound is one whatever attacks found it.
            letters = line.every if column == "milp-lower" else line.letters if column == "milp-upper" else line.whole
            if len(letters) == every:
                partly = column == "milp-lower" and line.images < every
                note = f"attacks on all images, branch and bound on the first {line.images}" if partly else ""
                values[f"table-1/{line.name}/{column}"] = Value(percent(letters, kinds), note)
        if line.images >= min(LEAST, parameters["images"]):
            gap = percent(line.letters, (By.NOTHING,))
            note = f"first {line.images} images, branch and bound, at most {line.time_limit:g} s an image"
            values[f"table-1/{line.name}/milp-gap"] = Value(gap, note)
    return values


def _test_images(name: str) -> int:
    """How many test images a data set has, without its file: numbers are compared where MNIST is not at hand."""
    return 10_000 if name == "mnist" else len(dataset(name))
