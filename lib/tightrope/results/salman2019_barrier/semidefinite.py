"""The barrier, crossed: what Shor's relaxation decides of the images that LP-ALL leaves open in Table 1.

No relaxation that treats each layer by itself is better than LP-ALL (theorem 4.1). That Shor's relaxation of all layers
together is better on an image is no theorem, but what a row shows; a label has the better one of both bounds. A row has
ten images, a letter for each: what decided it, of LP-GREEDY, LP-ALL, attacks, order 1 with bounds, 1+cuts, and branch
and bound on phases with that relaxation at its nodes.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tightrope import figures
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.question import Limits
from tightrope.results.salman2019_barrier.common import PAPER, percent, questions, title
from tightrope.threads import one_torch_thread
from tightrope.verifiers.cascade import LP_ALL, By, certify_boxes
from tightrope.workbench.cases import box_case, dataset, entry, groups
from tightrope.workbench.experiment import Experiment
from tightrope.workbench.rows import Rows
from tightrope.workbench.tables import Table

table_1_semidefinite = Experiment(PAPER, "table-1-semidefinite", may_be_empty=True)
GROUP = 10  # images of one row


@table_1_semidefinite.cases
def cases(beyond: Sequence[Sequence], seed: int) -> list[dict]:
    """Return one case for each line [network, radius, time limit, images] and group of its first images.

    The limit is in processor seconds, of branch and bound for one label.
    """
    found = []
    for network, epsilon, seconds, images in beyond:
        options = {"seed": seed, "time_limit": float(seconds)}
        for group in groups(images, GROUP, dataset(entry(network).dataset)):
            found.append(box_case(network, epsilon, "semidefinite", options, **group))
    return found


@table_1_semidefinite.solve
def cross(case: Mapping) -> dict:
    """Decide each image of a group."""
    asked, options, began = questions(case), case["options"], time.process_time()
    limits = Limits(time=options["time_limit"], seed=options["seed"])
    decisions = certify_boxes(asked, limits, semidefinite=True)
    spent: dict[str, list[float]] = {}
    for decision in decisions:
        for by, seconds in decision.seconds.items():
            spent.setdefault(by, []).append(seconds)
    # Of those that LP-ALL certifies and LP-GREEDY does not, the ones that LP-LAST certifies.
    last = []
    with one_torch_thread():
        for i, (one, decision) in enumerate(zip(asked, decisions, strict=True)):
            if decision.by in LP_ALL and decision.by is not By.GREEDY:
                inputs = InputSet.from_balls([one.region])
                found = layerwise(one.network, inputs, one.label, "lp-last", decide=True)
                last += [case["first"] + i] if found.worst < 0 else []
    return {
        "decided_by": "".join(decision.by.value for decision in decisions),
        "lp_last": last,
        # Open after LP-ALL and attacks: image, proven bounds of what LP-ALL leaves open by it and by each of Shor's
        # relaxations, nodes.
        "after_lp_all": [
            [case["first"] + i, round(d.lp_all, 5), {by: round(v, 5) for by, v in d.shor.items()}, d.subproblems]
            for i, d in enumerate(decisions)
            if d.lp_all is not None and (d.shor or d.by is By.NOTHING)
        ],
        "open": [[case["first"] + i, d.reason] for i, d in enumerate(decisions) if d.by is By.NOTHING],
        # By method: images that were asked, their processor seconds together, those of the slowest.
        "seconds_by": {by: [len(s), round(sum(s), 3), round(max(s), 3)] for by, s in sorted(spent.items())},
        "seconds": round(time.process_time() - began, 3),
    }


#: What certifies, from the cheapest on: column -> the letters that it has beside those before.
CERTIFIED = {"LP-ALL": LP_ALL, "order 1": (By.SHOR,), "1+cuts": (By.CUTS,), "exact, upper": (By.PHASES,)}
ATTACKED = (By.WRONG, By.FOOLBOX, By.PGD, By.TREE_ATTACK)


@dataclass(frozen=True)
class Line:
    """One line of Table 1 over its first images, in percent of them; `seconds` by letter, a mean of the images asked.

    `errors` are upper bounds of the robust error by LP-GREEDY, LP-LAST and CERTIFIED; `open` are the images that LP-ALL
    and attacks leave, in number.
    """

    network: str
    epsilon_pixel: float
    images: int
    attacked: float
    errors: Mapping[str, float]
    open: int
    seconds: Mapping[By, float]

    @property
    def name(self) -> str:
        """As the paper's table has it."""
        return f"{title(self.network)}  {self.epsilon_pixel:g}"


def lines_of(rows: Rows) -> list[Line]:
    """Return one line for each network and radius: its images from the first on, up to the first that are missing."""
    lines = []
    for (network, epsilon), found in rows.by("network", "epsilon_pixel"):
        letters, last, own = "", 0, []
        for row in sorted(found, key=lambda row: row["first"]):
            if row["first"] == len(letters):
                letters += row["decided_by"]
                last += len(row["lp_last"])
                own.append(row)
        greedy = letters.count(By.GREEDY.value)
        share = 100 / len(letters)
        errors = {"LP-GREEDY": 100 - share * greedy, "LP-LAST": 100 - share * (greedy + last)}
        certified: tuple[By, ...] = ()
        for column, more in CERTIFIED.items():
            certified += more
            errors[column] = 100 - percent(letters, certified)
        spent = {}
        for by in (By.SHOR, By.CUTS, By.PHASES):
            asked = [row["seconds_by"][by.value] for row in own if by.value in row["seconds_by"]]
            if asked:
                spent[by] = sum(total for _, total, _ in asked) / sum(count for count, _, _ in asked)
        after = sum(len(row["after_lp_all"]) for row in own)
        lines.append(Line(network, epsilon, len(letters), percent(letters, ATTACKED), errors, after, spent))
    return lines


@table_1_semidefinite.table
def crossed(rows: Rows) -> Table:
    """Return the robust error that each relaxation proves, and that attacks show, in percent of the first images."""
    lines = []
    for line in lines_of(rows):
        errors = (round(error, 2) for error in (*line.errors.values(), line.attacked))
        lines.append((title(line.network), line.epsilon_pixel, line.images, line.open, *errors))
    heads = ("network", "epsilon", "images", "open after LP-ALL", "LP-GREEDY", "LP-LAST", *CERTIFIED, "attacked")
    return Table(heads, lines)


@table_1_semidefinite.table
def seconds(rows: Rows) -> Table:
    """Return the mean processor seconds of an image that was asked, for each of Shor's relaxations."""
    shown = (By.SHOR, By.CUTS, By.PHASES)
    lines = [
        (
            title(line.network),
            line.epsilon_pixel,
            *(round(line.seconds[by], 2) if by in line.seconds else None for by in shown),
        )
        for line in lines_of(rows)
    ]
    return Table(("network", "epsilon", "order 1", "1+cuts", "branch and bound on phases"), lines)


@table_1_semidefinite.drawing(crossed)
def draw(rows: Rows) -> figures.Drawing:
    """Draw where LP-ALL stands on each line, and what is certified beyond it."""
    bars = []
    for line in lines_of(rows):
        *linear, order_1, cuts, exact = line.errors.values()
        spent = f", {line.seconds[By.SHOR]:.1f} s" if By.SHOR in line.seconds else ""
        ends = (line.attacked, exact, cuts, order_1, *reversed(linear))
        bars.append((line.name, f"{line.images}{spent}", *ends))
    return figures.barrier_bars(bars, title="what crosses the barrier of layer-wise relaxations")
