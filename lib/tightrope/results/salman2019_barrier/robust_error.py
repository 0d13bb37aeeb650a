"""Table 1: lower and upper bounds of the robust error by attacks, LP-GREEDY, LP-ALL and an exact verifier.

Two kinds of rows are made by the cascade (:mod:`tightrope.verifiers.cascade`), group by group of images; a row keeps
one letter for each image: what decided it. Up to LP-ALL an image costs some hundredths of a second, and all test images
are done; with branch and bound the first ones are. A third kind has the authors' own attack, the column PGD. Every
column of the table follows from the letters.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import figures
from tightrope.attacks import foolbox_pgd_each
from tightrope.threads import one_torch_thread
from tightrope.verifiers.cascade import LP_ALL, NEAR, By, Decision
from tightrope.workbench.cases import box_case, dataset, entry, groups
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Rows, Table, Value, Values
from .common import PAPER, decided, from_the_first, percent, prove, questions, title, verdicts
from .semidefinite import table_1_semidefinite

up_to_lp_all = Experiment(PAPER, "table-1-lp-all")
authors_pgd = Experiment(PAPER, "table-1-pgd")
table_1 = Experiment(PAPER, "table-1-robust-error", needs=[up_to_lp_all, authors_pgd], also=[table_1_semidefinite])
#: Of the authors' attack, which is in their code (main.py) and not in the text: signs of gradients from the image on.
STEPS, STEP = 40, 0.01  # in pixel units
GROUP, WHOLE = 50, 500  # images of one row with branch and bound, and up to LP-ALL
LEAST = 1000  # images, the first ones, for which a line's gap is put beside the printed one


@up_to_lp_all.cases
def cases_up_to_lp_all(lines: Sequence[Sequence], seed: int) -> Cases:
    """Yield one case for each line (a network and a radius) and group of all test images."""
    return _all_images(lines, "lp-all", {"seed": seed})


@authors_pgd.cases
def cases_of_pgd(lines: Sequence[Sequence]) -> Cases:
    """Yield the same for the authors' attack."""
    return _all_images(lines, "pgd", {"steps": STEPS, "step": STEP})


def _all_images(lines: Sequence[Sequence], method: str, options: Mapping) -> Iterator[dict]:
    for network, epsilon, *_ in lines:
        for group in groups(network, len(dataset(entry(network).dataset)), WHOLE):
            yield box_case(network, epsilon, method, options, **group)


@table_1.cases
def cases(lines: Sequence[Sequence], images: int, time_limit: float, subproblems: int, seed: int) -> Cases:
    """Yield one case for each line and group of the first images, which branch and bound decides.

    A line is a network and a radius in pixel units; then, if wanted, its own `time_limit` and `images`. `time_limit` is
    in processor seconds for one image; `subproblems` limits the same by a number that is equal on every machine.
    """
    usual = (time_limit, images)
    for network, epsilon, *own in lines:
        seconds, count = (*own, *usual[len(own) :])
        options = {"seed": seed, "subproblems": subproblems, "time_limit": float(seconds)}
        for group in groups(network, count, GROUP):
            yield box_case(network, epsilon, "cascade", options, **group)


@authors_pgd.solve
def attack_as_the_authors(case: Case) -> dict:
    """Attack each image of a group with the authors' settings."""
    asked, step = questions(case), case["options"]["step"] / case["epsilon_pixel"]
    began = time.process_time()
    with one_torch_thread():
        found = foolbox_pgd_each(asked, steps=case["options"]["steps"], random_start=False, relative_step=step)
    predicted = asked[0].network.predict(np.array([one.region.center for one in asked]))
    right = predicted == [one.label for one in asked]
    letters = (By.WRONG if not ok else By.FOOLBOX if hit else By.NOTHING for ok, hit in zip(right, found, strict=True))
    return {"decided_by": "".join(by.value for by in letters), "seconds": round(time.process_time() - began, 3)}


@up_to_lp_all.solve
def verify_up_to_lp_all(case: Case) -> dict:
    """Decide each image of a group as far as LP-ALL can."""

    def more(images: list[tuple[int, Decision]]) -> dict:
        """Return the images for which LP-ALL, or LP-GREEDY, is closest to certifying or to not certifying."""
        lp_all = [[image, round(d.lp_all, 6)] for image, d in images if d.lp_all is not None and abs(d.lp_all) < NEAR]
        greedy = [[image, round(d.greedy, 6)] for image, d in images if abs(d.greedy) < NEAR]
        return {"near_lp_all": lp_all, "near_lp_greedy": greedy}

    return decided(case, more, complete=False)


@table_1.solve
def verify_by_cascade(case: Case) -> dict:
    """Decide each image of a group by the whole cascade."""

    def more(images: list[tuple[int, Decision]]) -> dict:
        # Open after LP-ALL: image, its bound, the greedy one, and subproblems of branch and bound.
        after = [(image, d) for image, d in images if d.lp_all is not None and d.by not in LP_ALL]
        return {
            "after_lp_all": [[image, round(d.lp_all, 5), round(d.greedy, 5), d.subproblems] for image, d in after],
            "open": [[image, d.reason] for image, d in images if d.by is By.NOTHING],
        }

    return decided(case, more)


table_1.states(verdicts)
table_1.proves(prove)


@dataclass(frozen=True)
class ErrorBounds:
    """One line of Table 1: a letter for each image, what decided it (:class:`tightrope.verifiers.cascade.By`).

    `letters` are those with branch and bound, of the first images, `whole` those up to LP-ALL of all test images as far
    as they are done, `pgd` those of the authors' attack alone. `time_limit` is that of branch and bound, seconds an
    image.
    """

    network: str
    epsilon_pixel: float
    letters: str
    whole: str
    pgd: str
    time_limit: float

    @property
    def name(self) -> str:
        """The line in a cell's id, such as ``adv-mlp-b-0.03``."""
        return f"{title(self.network).lower()}-{self.epsilon_pixel:g}"

    @property
    def images(self) -> int:
        """How many images branch and bound was asked about, those that something cheaper decided included."""
        return len(self.letters)


def error_bounds(rows: Rows) -> tuple[ErrorBounds, ...]:
    """Return one line for each network and radius, in the order of the rows that go up to LP-ALL."""
    kinds = [rows.where(result=kind.name) for kind in (up_to_lp_all, table_1, authors_pgd)]
    lines = []
    for (network, epsilon), _ in Rows(row for kind in kinds for row in kind).by("network", "epsilon_pixel"):
        cheap, by_tree, pgd = (kind.where(network=network, epsilon_pixel=epsilon) for kind in kinds)
        limit = max((row["options"]["time_limit"] for row in by_tree), default=0.0)
        letters = (from_the_first(own)[1] for own in (by_tree, cheap, pgd))
        lines.append(ErrorBounds(network, epsilon, *letters, limit))
    return tuple(lines)


NOT_LP_ALL = tuple(by for by in By if by not in LP_ALL)
NOT_LP_GREEDY = tuple(by for by in By if by is not By.GREEDY)
FOOLBOX = (By.WRONG, By.FOOLBOX)
ATTACKED = (*FOOLBOX, By.PGD, By.TREE_ATTACK)
#: Column -> (title, letters that are counted, in which of a line's texts).
COLUMNS = {
    "test-error": ("test error", (By.WRONG,), "whole"),
    "pgd": ("PGD", FOOLBOX, "pgd"),
    "foolbox": ("Foolbox's defaults", FOOLBOX, "whole"),
    "milp-lower": ("exact, lower", ATTACKED, "letters"),
    "milp-upper": ("exact, upper", (*ATTACKED, By.NOTHING), "letters"),
    "lp-all": ("LP-ALL", NOT_LP_ALL, "whole"),
    "lp-greedy": ("LP-GREEDY", NOT_LP_GREEDY, "whole"),
}


@table_1.table
def errors(rows: Rows) -> Table:
    """Return every column in percent, the printed number in brackets where there is one.

    Bounds of the exact verifier are for the first images, the other columns for all.
    """
    printed, lines = table_1.printed, []
    for line in error_bounds(rows):
        shown = []
        for column, (_, kinds, where) in COLUMNS.items():
            paper, letters = printed.get(f"table-1/{line.name}/{column}"), getattr(line, where)
            ours = f"{percent(letters, kinds):.2f}" if letters else "-"
            shown.append(ours + (f" ({paper:.2f})" if paper is not None else ""))
        lines.append((title(line.network), line.epsilon_pixel, len(line.whole), *shown, line.images))
    heads = (head for head, _, _ in COLUMNS.values())
    # An attack may end on the other side for one image.
    one = dict.fromkeys(("PGD", "Foolbox's defaults"), 100 / max(1, *(line[2] for line in lines)))
    return Table(("network", "epsilon", "images", *heads, "images of exact"), lines, tolerance=one)


METHODS = {
    "wrong label": By.WRONG,
    "LP-GREEDY": By.GREEDY,
    "CROWN": By.CROWN,
    "Foolbox": By.FOOLBOX,
    "targeted PGD": By.PGD,
    "LP-ALL, dual": By.DUAL,
    "LP-ALL, HiGHS": By.PROGRAM,
    "branch and bound": By.TREE,
    "its attack": By.TREE_ATTACK,
    "open": By.NOTHING,
}
TIMED = ("Foolbox", "targeted PGD", "LP-ALL, dual", "LP-ALL, HiGHS", "branch and bound")


@table_1.lines("network | epsilon | images", *METHODS)
def methods(rows: Rows) -> Lines:
    """Return how many of the first images each method decided, the cheapest first."""
    for line in error_bounds(rows):
        counts = (line.letters.count(by.value) for by in METHODS.values())
        yield title(line.network), line.epsilon_pixel, line.images, *counts


@table_1.lines("network | epsilon | method | images | mean s | largest s")
def seconds(rows: Rows) -> Lines:
    """Return mean and largest seconds of an image for each method that was asked, by network and radius."""
    for (network, epsilon), own in rows.where(result=table_1.name).by("network", "epsilon_pixel"):
        for name in TIMED:
            by = METHODS[name].value
            if spent := [row["seconds_by"][by] for row in own if by in row["seconds_by"]]:
                counts, totals, most = zip(*spent, strict=True)
                mean = round(sum(totals) / sum(counts), 3)
                yield title(network), epsilon, name, sum(counts), mean, round(max(most), 3)


@table_1.drawing(errors)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the bounds of each line, over the images of branch and bound, and the printed ones of all images."""
    bars, printed, open_, solved = [], {}, 0.0, 0.0
    for line in error_bounds(rows):
        if line.letters:
            wrong, broken, *rest = (percent(line.letters, COLUMNS[name][1]) for name in COLUMNS if name != "pgd")
            broken = max(broken, percent(line.pgd[: line.images], FOOLBOX))
            bars.append((label := f"{title(line.network)}  {line.epsilon_pixel:g}", wrong, broken, *rest))
            least, most, lp_all, _ = rest
            open_, solved = open_ + line.images * (lp_all - least), solved + line.images * (lp_all - most)
            ids = [f"table-1/{line.name}/milp-{end}" for end in ("lower", "upper")]
            if table_1.printed.keys() >= set(ids):
                printed[label] = (table_1.printed[ids[0]], table_1.printed[ids[1]])
    drawing = figures.error_bars(bars, "bounds of the robust error, first test images", printed)
    if not open_:
        return drawing
    said = "Of the images that LP-ALL does not certify and no attack breaks,"
    return drawing.saying(f"{said} branch and bound certifies {100 * solved / open_:.0f} %")


@table_1.cells
def cells(rows: Rows, images: int) -> Values:
    """Yield our numbers of the lines that are done for all test images; gaps for the first ones."""
    for line in error_bounds(rows):
        data = rows.where(network=line.network)[0]["dataset"]
        every = 10_000 if data == "mnist" else len(dataset(data))  # numbers are compared where MNIST is not at hand
        for column, (_, kinds, where) in COLUMNS.items():
            # What is printed is for all test images: a part of them is no number to put beside it. An upper bound of
            # the exact verifier needs it for each of them; a lower bound is one whatever attacks found it.
            is_lower, letters = column == "milp-lower", getattr(line, where)
            letters += line.whole[line.images :] if is_lower else ""
            if len(letters) == every and column != "foolbox":
                partly = is_lower and line.images < every
                note = f"attacks on all images, branch and bound on the first {line.images}" if partly else ""
                yield f"table-1/{line.name}/{column}", Value(percent(letters, kinds), note)
        if line.images >= min(LEAST, images):
            note = f"first {line.images} images, branch and bound, at most {line.time_limit:g} s an image"
            yield f"table-1/{line.name}/milp-gap", Value(percent(line.letters, (By.NOTHING,)), note)
