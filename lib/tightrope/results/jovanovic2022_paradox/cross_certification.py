"""Table 7, and the certified columns of Tables 2, 8 and 9: every network certified by every relaxation.

A row is one network, one relaxation and a group of images. Images that the network labels wrongly are not robust; nor
are those with an adversarial point, found by a short search, which no sound relaxation certifies: both are left out.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from tightrope import attacks, figures
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.results.jovanovic2022_paradox.common import (
    CERTIFIERS,
    OWN,
    TRAININGS,
    from_mask,
    make_case,
    parts,
    questions,
    title,
    to_mask,
)
from tightrope.threads import one_torch_thread
from tightrope.workbench.cases import dataset, entry, groups, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_7 = "table-7-cross-certification"
#: Of the short search: steps, and their length relative to the radius.
SEARCH_STEPS, SEARCH_LENGTH = 10, 0.2


@dataclass(frozen=True)
class Count:
    """Images of one network that one relaxation certifies.

    Attributes
    ----------
    correct, certified : int
        Of `images`.
    """

    network: str
    method: str
    epsilon_pixel: float
    images: int
    correct: int
    certified: int

    @property
    def percent(self) -> float:
        """Certified images in percent."""
        return 100 * self.certified / self.images


@dataclass(frozen=True)
class Table7:
    """Rows of Table 7 and what is shown of them."""

    rows: tuple[dict, ...]

    @cached_property
    def counts(self) -> tuple[Count, ...]:
        """Counts by network and relaxation."""
        return counts(self.rows)

    @property
    def certified(self) -> Table:
        """Certified images in percent: a line for each network, a column for each relaxation."""
        return ratio_table(self.counts)

    @property
    def findings(self) -> Table:
        """How often the tightest relaxation is not the best certificate: the table in one line for each network."""
        return best_table(self.counts)

    def draw(self, name: str = TABLE_7) -> figures.Drawing:
        """Draw the matrix and write it under figures/."""
        lines = list(dict.fromkeys(count.network for count in self.counts))
        methods = list(dict.fromkeys(count.method for count in self.counts))
        found = {(count.network, count.method): count.percent for count in self.counts}
        values = [[found[line, method] for method in methods] for line in lines]
        drawing = figures.matrix(values, [short(line) for line in lines], [title(m) for m in methods],
                                 "certified images in percent: network (rows) by relaxation (columns)")  # fmt: skip
        drawing.save(self.rows[0]["paper"], f"{name}.{drawn_profile(self.rows)}", self.certified)
        return drawing


def table_7(
    networks: Sequence[str],
    images: int,
    epsilon_pixel: float = 0.3,
    methods: Sequence[str] = CERTIFIERS,
    group: int = 500,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Table7:
    """Table 7: each network certified by each relaxation, on the L-infinity box cut to the pixel range.

    Parameters
    ----------
    networks
        Names of the zoo.
    images
        How many test images, from the first on.
    epsilon_pixel
        Radius for pixels in [0, 1].
    methods
        Relaxations of :mod:`tightrope.propagation`.
    group
        Images of one row: what a killed run loses at most.
    """
    parameters = dict(networks=networks, images=images, epsilon_pixel=epsilon_pixel, methods=methods, group=group,
                      profile=profile)  # fmt: skip
    return Table7(solved(table_7_cases(parameters), solve or count_certified, store))


@checked()
def table_7_cases(parameters: Mapping) -> list[dict]:
    """One case per network, group of images and relaxation."""
    return [
        make_case(
            TABLE_7, parameters["profile"], network, parameters["epsilon_pixel"], method, {"elision": True}, **part
        )
        for network in parameters["networks"]
        for part in groups(parameters["images"], parameters["group"], dataset(entry(network).dataset))
        for method in parameters.get("methods", CERTIFIERS)
    ]


def count_certified(case: Mapping) -> dict:
    """Certify one group of images.

    Returns
    -------
    dict
        `correct`, `searched` (rightly labelled, and left by the short search), `certified` as counts; the last two also
        as bit masks over the group. `allowance` is the largest rounding allowance, `closest` the margin's bound that
        came closest to 0: a verdict is far from rounding where it is far above the allowance.
    """
    start = time.perf_counter()
    found, _, lower, upper, labels = questions(case)
    correct, left = standing(*(case[name] for name in ("network", "dataset", "epsilon_pixel", "first", "count")))
    boxes, elision = InputSet.boxes(lower, upper), case["options"]["elision"]
    known, asked = np.zeros_like(left), left
    with one_torch_thread():
        if case["method"] == "hbox":  # at least as tight as Box, neuron by neuron (the paper's Theorem 2)
            known = certify(found.network, boxes, labels, "box", elision=elision, consider=left).certified
            asked = left & ~known
        outcome = certify(found.network, boxes, labels, case["method"], elision=elision, consider=asked)
    certified, worst = outcome.certified | known, outcome.worst[asked]
    return {
        "correct": int(correct.sum()),
        "searched": int(left.sum()),
        "certified": int(certified.sum()),
        "searched_mask": to_mask(left),
        "certified_mask": to_mask(certified),
        "allowance": float(f"{outcome.allowance:.3g}"),
        "closest": float(f"{np.abs(worst).min(initial=np.inf):.3g}") if len(worst) else None,
        "seconds": round(time.perf_counter() - start, 3),
    }


@lru_cache(maxsize=4)
def standing(network: str, data: str, epsilon_pixel: float, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images that are labelled rightly, and those of them that the short search leaves standing: (N,) of bool each."""
    case = dict(network=network, dataset=data, epsilon_pixel=epsilon_pixel, first=first, count=count)
    found, x, lower, upper, labels = questions(case)
    correct = found.network.predict(x) == labels
    step = SEARCH_LENGTH * found.normalisation.steps_to_input(epsilon_pixel, x.shape[1])
    with one_torch_thread():
        broken = attacks.batched_pgd(found.network, x, lower, upper, labels, step=step, steps=SEARCH_STEPS, seed=0)
    return correct, ~broken


def counts(rows: Sequence[Mapping]) -> tuple[Count, ...]:
    """Add up the rows of each network and relaxation."""
    together: dict[tuple, list[Mapping]] = {}
    for row in rows:
        together.setdefault((row["network"], row["method"], row["epsilon_pixel"]), []).append(row)
    return tuple(
        Count(*key, *(sum(row[name] for row in part) for name in ("count", "correct", "certified")))
        for key, part in together.items()
    )


def masks(rows: Sequence[Mapping], name: str = "certified_mask") -> dict[tuple[str, str], np.ndarray]:
    """(network, relaxation) -> bool for each image, of rows that together hold all images once."""
    found: dict[tuple[str, str], dict[int, np.ndarray]] = {}
    for row in rows:
        part = from_mask(row[name], row["count"])
        found.setdefault((row["network"], row["method"]), {})[row["first"]] = part
    return {key: np.concatenate([parts[first] for first in sorted(parts)]) for key, parts in found.items()}


def short(network: str) -> str:
    """`jovanovic2022-paradox/fc-crown-ibp-r` as `FC, CROWN-IBP (R)`."""
    kind, training = parts(network)
    return f"{kind.upper()}, {TRAININGS.get(training, training)}"


def ratio_table(found: Sequence[Count]) -> Table:
    """Percent for each network (lines) and relaxation (columns)."""
    methods = list(dict.fromkeys(count.method for count in found))
    networks = list(dict.fromkeys(count.network for count in found))
    cell = {(count.network, count.method): count for count in found}
    lines = []
    for network in networks:
        first = cell[network, methods[0]]
        accuracy = round(100 * first.correct / first.images, 2)
        lines.append((short(network), accuracy, *(round(cell[network, m].percent, 2) for m in methods)))
    return Table(("network, trained with", "accuracy", *(title(m) for m in methods)), tuple(lines))


def best_table(found: Sequence[Count]) -> Table:
    """The relaxation that certifies most images of each network, beside the one that it was trained with."""
    lines = []
    for network in dict.fromkeys(count.network for count in found):
        own = OWN.get(parts(network)[1])
        of_network = {count.method: count for count in found if count.network == network}
        best = max(of_network.values(), key=lambda count: count.certified)
        trained = of_network.get(own)
        lines.append((short(network), title(own) if own else "", trained and round(trained.percent, 2),
                      title(best.method), round(best.percent, 2)))  # fmt: skip
    return Table(("network, trained with", "certified with", "%", "best certificate", "% "), tuple(lines))


def table_7_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our numbers for the printed cells, `table-7/<network>-<epsilon>/<training>/<certifier>`."""
    values = {}
    for count in counts(rows):
        if count.images != parameters["images"]:
            continue
        kind, training = parts(count.network)
        cell = f"table-7/{kind}-{count.epsilon_pixel:g}/{training}/{count.method.replace('_', '-')}"
        values[cell] = Value(round(count.percent, 2), f"{count.certified} of {count.images} images")
    return values
