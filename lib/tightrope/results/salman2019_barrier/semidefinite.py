"""The barrier, crossed: what Shor's relaxation decides of the images that LP-ALL leaves open in Table 1.

No relaxation that treats each layer by itself is better than LP-ALL (theorem 4.1). That Shor's relaxation of all layers
together is better on an image is no theorem, but what a row shows; a label has the better one of both bounds. A row has
ten images, a letter for each: what decided it, of LP-GREEDY, LP-ALL, attacks, order 1 with bounds, 1+cuts, and branch
and bound on phases with that relaxation at its nodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tightrope import figures
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.layerwise import layerwise
from tightrope.threads import one_torch_thread
from tightrope.verifiers.cascade import LP_ALL, By, Decision
from tightrope.workbench.cases import box_case, groups
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Rows
from .common import PAPER, decided, from_the_first, percent, prove, questions, title, verdicts

table_1_semidefinite = Experiment(PAPER, "table-1-semidefinite", may_be_empty=True)
GROUP = 10  # images of one row


@table_1_semidefinite.cases
def cases(beyond: Sequence[Sequence], seed: int) -> Cases:
    """Yield one case for each line [network, radius, time limit, images] and group of its first images.

    The limit is in processor seconds, of branch and bound for one label.
    """
    for network, epsilon, seconds, images in beyond:
        options = {"seed": seed, "time_limit": float(seconds)}
        for group in groups(network, images, GROUP):
            yield box_case(network, epsilon, "semidefinite", options, **group)


@table_1_semidefinite.solve
def cross(case: Case) -> dict:
    """Decide each image of a group."""

    def more(images: list[tuple[int, Decision]]) -> dict:
        return {
            "lp_last": _certified_by_lp_last(case, images),
            # Open after LP-ALL and attacks: image, proven bounds of what LP-ALL leaves open by it and by each of Shor's
            # relaxations, nodes.
            "after_lp_all": [
                [image, round(d.lp_all, 5), {by: round(v, 5) for by, v in d.shor.items()}, d.subproblems]
                for image, d in images
                if d.lp_all is not None and (d.shor or d.by is By.NOTHING)
            ],
            "open": [[image, d.reason] for image, d in images if d.by is By.NOTHING],
        }

    return decided(case, more, semidefinite=True)


table_1_semidefinite.states(verdicts)
table_1_semidefinite.proves(prove)


def _certified_by_lp_last(case: Case, images: list[tuple[int, Decision]]) -> list[int]:
    """Return which of the images that LP-ALL certifies and LP-GREEDY does not LP-LAST certifies."""
    last = []
    with one_torch_thread():
        for one, (image, decision) in zip(questions(case), images, strict=True):
            if decision.by in LP_ALL and decision.by is not By.GREEDY:
                inputs = InputSet.from_balls([one.region])
                found = layerwise(one.network, inputs, one.label, "lp-last", decide=True)
                last += [image] if found.worst < 0 else []
    return last


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


def lines_of(rows: Rows) -> list[Line]:
    """Return one line for each network and radius: its images from the first on, up to the first that are missing."""
    lines = []
    for (network, epsilon), found in rows.by("network", "epsilon_pixel"):
        own, letters = from_the_first(found)
        greedy, last = letters.count(By.GREEDY.value), sum(len(row["lp_last"]) for row in own)
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


@table_1_semidefinite.lines(
    "network | epsilon | images | open after LP-ALL | LP-GREEDY | LP-LAST", *CERTIFIED, "attacked"
)
def crossed(rows: Rows) -> Lines:
    """Return the robust error that each relaxation proves, and that attacks show, in percent of the first images."""
    for line in lines_of(rows):
        errors = (round(error, 2) for error in (*line.errors.values(), line.attacked))
        yield title(line.network), line.epsilon_pixel, line.images, line.open, *errors


@table_1_semidefinite.lines("network | epsilon | order 1 | 1+cuts | branch and bound on phases")
def seconds(rows: Rows) -> Lines:
    """Return the mean processor seconds of an image that was asked, for each of Shor's relaxations."""
    for line in lines_of(rows):
        spent = (round(line.seconds[by], 2) if by in line.seconds else None for by in (By.SHOR, By.CUTS, By.PHASES))
        yield title(line.network), line.epsilon_pixel, *spent


@table_1_semidefinite.drawing(crossed)
def draw(rows: Rows) -> figures.Drawing:
    """Draw where LP-ALL stands on each line, and what is certified beyond it."""
    bars = []
    for line in lines_of(rows):
        *linear, order_1, cuts, exact = line.errors.values()
        spent = f", {line.seconds[By.SHOR]:.1f} s" if By.SHOR in line.seconds else ""
        ends = (line.attacked, exact, cuts, order_1, *reversed(linear))
        bars.append((f"{title(line.network)}  {line.epsilon_pixel:g}", f"{line.images}{spent}", *ends))
    drawing = figures.barrier_bars(bars, title="what crosses the barrier of layer-wise relaxations")
    counts = dict.fromkeys(("LP-ALL", "order 1", "1+cuts", "exact, upper", "attacked"), 0.0)
    for line in lines_of(rows):
        for name in counts:
            counts[name] += line.images * (line.attacked if name == "attacked" else line.errors[name]) / 100
    open_, *certified = (round(counts["LP-ALL"] - counts[name]) for name in ("attacked", "order 1", "1+cuts"))
    first, cuts = certified
    said = f"Of {open_} images that LP-ALL does not certify and no attack breaks"
    return drawing.saying(f"{said}, order 1 certifies {first}, 1+cuts {cuts - first} more")
