"""Tables 2 and 8 to 12: each network certified by the relaxation of its training; accuracy and attacks beside."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import attacks, figures
from tightrope.errors import InputError
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import RELAXATIONS
from tightrope.results.jovanovic2022_paradox.common import (
    OWN,
    PAPER,
    TRAININGS,
    kept_or_solved,
    make_case,
    parts,
    questions,
    title,
)
from tightrope.results.jovanovic2022_paradox.cross_certification import TABLE_7, count_certified, short, standing
from tightrope.threads import one_torch_thread
from tightrope.workbench.cases import dataset, entry, groups, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

TABLE_2, TABLE_8, TABLE_9 = "table-2-certified-training", "table-8-mnist-fc", "table-9-mnist-conv"
TABLE_10, TABLE_11 = "table-10-fashionmnist-fc", "table-11-fashionmnist-conv"
TABLE_12 = "table-12-svhn-cifar10"
#: What the paper says of each relaxation: class of tightness, sensitivity as printed.
PROPERTIES = {
    "box": ("low", "O(1)"),
    "hbox": ("mid", "O(1)"),
    "crown_ibp": ("mid", "O(M^(B+1))"),
    "deepz": ("high", "O(3^B M^(B+1))"),
    "crown": ("high", "O(3^B M^(B+1))"),
}


def training_of(network: str) -> str:
    """`digits/fc-crown-ibp` -> `crown-ibp`."""
    _, training = parts(network)
    if training not in OWN:
        known = ", ".join(OWN)
        raise InputError(f"network {network!r}: its name must end with how it was trained, one of {known}.")
    return training


@dataclass(frozen=True)
class OwnCertificates:
    """Rows of Table 2 or 8 to 12."""

    rows: tuple[dict, ...]

    @property
    def totals(self) -> dict[str, dict]:
        """Network -> sums over its groups of images."""
        found: dict[str, dict] = {}
        for row in self.rows:
            total = found.setdefault(row["network"], {"images": 0, "correct": 0, "certified": 0, "standing": 0})
            for name, source in (("images", "count"), ("correct", "correct"), ("certified", "certified")):
                total[name] += row[source]
            total["standing"] += row.get("standing") or 0
        return found

    @property
    def properties(self) -> Table:
        """Table 2: tightness, continuity and sensitivity of the relaxation, and the certified images in percent."""
        kinds = list(dict.fromkeys(parts(network)[0].upper() for network in self.totals))
        lines = []
        for training, words in TRAININGS.items():
            own = OWN[training]
            hybrid = training == "crown-ibp"
            tight, sensitivity = ("", "") if hybrid else PROPERTIES[own]
            continuous = "" if hybrid else "yes" if RELAXATIONS[own].continuous else "no"
            shares = [
                next((_percent(t["certified"], t) for n, t in self.totals.items()
                      if parts(n) == (kind.lower(), training)), None)
                for kind in kinds
            ]  # fmt: skip
            if any(share is not None for share in shares):
                lines.append((words, tight, continuous, sensitivity, *shares))
        return Table(("trained with", "tightness", "continuous", "sensitivity", *kinds), tuple(lines))

    @property
    def scores(self) -> dict[str, float]:
        """Certified images in percent by the paper's word for the training."""
        return {TRAININGS[training_of(n)]: _percent(t["certified"], t) for n, t in self.totals.items()}

    @property
    def accuracies(self) -> Table:
        """Tables 8 to 12: accuracy, images that attacks leave, certified images, in percent."""
        lines = [
            (short(network), title(OWN[training_of(network)]),
             *(_percent(total[name], total) for name in ("correct", "standing", "certified")))
            for network, total in self.totals.items()
        ]  # fmt: skip
        return Table(("network, trained with", "certified with", "accuracy", "PGD", "certified"), tuple(lines))

    def draw(self) -> figures.Drawing:
        """Draw certified, undecided and attacked images of each network."""
        result = self.rows[0]["result"]
        bars = [(short(n), t["certified"], t["images"] - t["standing"], t["images"], None, None)
                for n, t in self.totals.items()]  # fmt: skip
        drawing = figures.stacked_ratios(bars, "certified, undecided and attacked images")
        drawing.save(PAPER, f"{result}.{drawn_profile(self.rows)}", self.accuracies)
        return drawing


def _percent(count: int, total: Mapping) -> float:
    return round(100 * count / total["images"], 2)


def own_certificates(
    result: str,
    networks: Sequence[str],
    images: int,
    epsilon_pixel: float = 0.3,
    group: int = 500,
    profile: str = "quick",
    store: Store | None = None,
) -> OwnCertificates:
    """Tables 2 and 8 to 12 (`result` says which): accuracy, attacks (not Table 2) and certified images of each network.

    Parameters
    ----------
    networks
        Names of the zoo that end with how they were trained.
    images, epsilon_pixel, group, profile
        As in :func:`tightrope.results.jovanovic2022_paradox.table_7`, whose rows are used where they are kept.
    """
    parameters = dict(networks=networks, images=images, epsilon_pixel=epsilon_pixel, group=group, profile=profile)
    rows = solved(own_cases(result)(parameters), certify_own if result == TABLE_2 else certify_and_attack, store)
    return OwnCertificates(rows)


def own_cases(result: str) -> Callable[[Mapping], list[dict]]:
    """The cases of one of these tables: one per network and group of images."""

    @checked()
    def cases(parameters: Mapping) -> list[dict]:
        return [
            make_case(result, parameters["profile"], network, parameters["epsilon_pixel"], OWN[training_of(network)],
                      {"elision": True}, **part)
            for network in parameters["networks"]
            for part in groups(parameters["images"], parameters["group"], dataset(entry(network).dataset))
        ]  # fmt: skip

    return cases


def certify_own(case: Mapping) -> dict:
    """Certify one group of images by the network's own relaxation; Table 7's row if it is kept."""
    outcome = kept_or_solved(case, TABLE_7, count_certified)
    return {name: outcome[name] for name in ("correct", "certified")}


def certify_and_attack(case: Mapping) -> dict:
    """The same, and search for adversarial points with the paper's attack: 100 steps of 0.01.

    `standing` counts the rightly labelled images for which neither the short search of Table 7 nor this one found a
    point. Images that Box or CROWN-IBP (R) certifies have none, and are not searched.
    """
    start = time.perf_counter()
    outcome = certify_own(case)
    found, x, lower, upper, labels = questions(case)
    _, left = standing(*(case[name] for name in ("network", "dataset", "epsilon_pixel", "first", "count")))
    safe = np.zeros_like(left)
    with one_torch_thread():
        for method in ("box", "crown_ibp"):
            safe |= certify(
                found.network, InputSet.boxes(lower, upper), labels, method, consider=left & ~safe
            ).certified
        rows = np.flatnonzero(left & ~safe)
        broken = left & False
        if len(rows):
            step = found.normalisation.steps_to_input(0.01, x.shape[1])
            part = [array[rows] for array in (x, lower, upper, labels)]
            broken[rows] = attacks.batched_pgd(found.network, *part, step=step, steps=100, seed=1)
    return {
        **outcome,
        "standing": int((left & ~broken).sum()),
        "attacked": len(rows),
        "seconds": round(time.perf_counter() - start, 3),
    }


def table_2_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """`table-2/mnist-fc/box` and so on."""
    values, of = {}, {row["network"]: row["dataset"] for row in rows}
    for network, total in OwnCertificates(tuple(rows)).totals.items():
        if total["images"] == parameters["images"]:
            data, (kind, training) = of[network], parts(network)
            kind = kind.removeprefix(f"{data}-").replace("-plus", "+")
            cell = f"table-2/{data}-{kind}/{training}"
            values[cell] = Value(_percent(total["certified"], total), f"of {total['images']} images")
    return values


def accuracy_cells(number: int) -> Callable[[Sequence[Mapping], Mapping], dict[str, Value]]:
    """`table-8/0.3/box/accuracy` and so on; `table-12/svhn/box/accuracy` where the table has one radius."""

    def cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
        values, of = {}, {row["network"]: row["dataset"] for row in rows}
        for network, total in OwnCertificates(tuple(rows)).totals.items():
            if total["images"] != parameters["images"]:
                continue
            radius = parameters["epsilon_pixel"]
            part = of[network] if number == 12 else f"{radius:g}"
            prefix = f"table-{number}/{part}/{training_of(network)}"
            for name, source in (("accuracy", "correct"), ("pgd", "standing"), ("certified", "certified")):
                values[f"{prefix}/{name}"] = Value(_percent(total[source], total), f"of {total['images']} images")
        return values

    return cells
