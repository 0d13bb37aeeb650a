"""Tables 2 and 8 to 12: each network certified by the relaxation of its training; accuracy and attacks beside."""

import time
from collections.abc import Mapping, Sequence
from itertools import product
from math import log

import numpy as np

from tightrope import attacks, figures
from tightrope.errors import InputError
from tightrope.propagation.certify import certify
from tightrope.propagation.inputs import InputSet
from tightrope.propagation.lines import RELAXATIONS
from tightrope.propagation.sensitivity import shared_degree
from tightrope.threads import one_torch_thread
from tightrope.workbench.cases import box_case, groups
from tightrope.workbench.experiment import Case, Cases, Experiment, Names, Rows, Table, Value, Values
from .common import CERTIFIERS, OWN, PAPER, TITLES, TRAININGS, label, letter_of, one_image, parts, questions, share
from .cross_certification import certify_group, standing, table_7
from .degrees import sensitivity_degrees
from .discontinuity import figure_3
from .shifts import figure_4, figure_10
from .tightness import CLASSES, cr_auc, cr_curve, table_4

table_2 = Experiment(PAPER, "table-2-certified-training")
table_8 = Experiment(PAPER, "table-8-mnist-fc")
#: What the paper says of a training's relaxation: class of tightness, sensitivity as printed; nothing of a mixture.
PROPERTIES = {
    "box": ("low", "O(1)"),
    "hbox": ("mid", "O(1)"),
    "crown-ibp-r": ("mid", "O(M^(B+1))"),
    "deepz": ("high", "O(3^B M^(B+1))"),
    "crown": ("high", "O(3^B M^(B+1))"),
}
#: Test images that are publicly at hand where it is not all of them: 114 of CIFAR-10 exist only as JPEG.
AT_HAND = {"cifar10": 9886}


def is_complete(rows: Rows, data: str, images: int) -> bool:
    """Whether rows of one network are about all the images asked for, as far as they are at hand."""
    return rows.total("count") in (images, min(images, AT_HAND.get(data, images)))


def training_of(network: str) -> str:
    """Return how a network was trained: `digits/fc-crown-ibp` -> `crown-ibp`."""
    _, training = parts(network)
    if training not in OWN:
        known = ", ".join(OWN)
        raise InputError(f"networks: the name of {network!r} must end with how it was trained, one of {known}.")
    return training


@table_8.cases
@table_2.cases
def cases(networks: Names, images: int, epsilon_pixel: float, group: int) -> Cases:
    """Yield one case for each network and group of the first test images."""
    for network in networks:
        for part in groups(network, images, group):
            yield box_case(network, epsilon_pixel, OWN[training_of(network)], {"elision": True}, **part)


@table_2.solve
def certify_by_own_relaxation(case: Case) -> dict:
    """Certify one group of images by the relaxation of its network's training; the row of a larger table if kept."""
    outcome = table_7.kept_or_solved(case, *OWN_CERTIFICATES.values())
    return {name: outcome[name] for name in ("correct", "certified")}


@table_2.table
def properties(rows: Rows) -> Table:
    """Return tightness, continuity and sensitivity of each relaxation as printed, and certified images in percent."""
    shares = {parts(network): share(own, "certified") for (network,), own in rows.by("network")}
    kinds, lines = list(dict.fromkeys(kind for kind, _ in shares)), []
    for training, words in TRAININGS.items():
        tightness, sensitivity = PROPERTIES.get(training, ("", ""))
        continuous = "yes" if RELAXATIONS[OWN[training]].continuous else "no"
        certified = [shares.get((kind, training)) for kind in kinds]
        if any(percent is not None for percent in certified):
            lines.append((words, tightness, continuous if tightness else "", sensitivity, *certified))
    columns = (f"{kind.upper()} %" for kind in kinds)
    return Table(("trained with", "tightness", "continuous", "sensitivity", *columns), lines)


#: The size at which the printed formulas of the sensitivity are evaluated: neurons of a layer, hidden layers.
SIZE = 3, 2


def tightness(rows: Rows) -> dict[str, Value]:
    """Return the class of each relaxation, 1 for the loosest, from rows of Table 4.

    Classes are where the mean of log CR-AUC over the networks has its largest gaps: as many as are printed.
    """
    logs: dict[str, list[float]] = {method: [] for method in CERTIFIERS}
    letters = []
    for (network,), own in rows.by("network"):
        areas = {method: cr_auc(*cr_curve(part)) for (method,), part in own.by("method") if method in logs}
        if letter_of(network) and len(areas) == len(logs) and min(areas.values()) > 0:
            letters.append(letter_of(network))
            for method, area in areas.items():
                logs[method].append(log(area))
    if not letters:
        return {}
    ordered = sorted((float(np.mean(some)), method) for method, some in logs.items())
    gaps = np.diff([mean for mean, _ in ordered])
    cuts = np.sort(np.argsort(gaps)[-(len(CLASSES) - 1) :])
    note = f"cut at the largest gaps of log CR-AUC over experiments {', '.join(map(str, letters))}"
    return {method: Value(1 + int((cuts < place).sum()), note) for place, (_, method) in enumerate(ordered)}


def continuity(rows: Rows) -> dict[str, Value]:
    """Return 1 for each relaxation without a jump on any curve, 0 for the others, from rows of Figures 3, 4 and 10."""
    values = {}
    for (method,), own in rows.by("method"):
        found = sum(len(row["jumps"]) for row in own)
        values[method] = Value(int(found == 0), f"{found} jumps on {len(own)} curves of Figures 3, 4 and 10")
    return values


def sensitivity(rows: Rows) -> dict[str, Value]:
    """Return the proven degree of each relaxation's bounds for :data:`SIZE`, beside the highest one found in rows."""
    values = {}
    neurons, hidden = SIZE
    for (method,), own in rows.where(neurons=neurons, hidden=hidden).by("method"):
        proven, found = shared_degree(method, neurons, hidden), max(own.column("degree"))
        values[method] = Value(max(proven, found), f"the highest degree of {len(own)} random networks is {found}")
    return values


@table_2.cells
def certified_cells(rows: Rows, images: int, profile: str) -> Values:
    """Yield `table-2/box/tightness`, of other results' rows; `table-2/mnist-fc/box`, of these and Table 12's."""
    curves = Rows(row for figure in (figure_3, figure_4, figure_10) for row in figure.kept(profile))
    measured = {
        "tightness": tightness(table_4.kept(profile)),
        "continuous": continuity(curves),
        "sensitivity": sensitivity(sensitivity_degrees.kept(profile)),
    }
    for (column, found), training in product(measured.items(), PROPERTIES):
        if OWN[training] in found:
            yield f"table-2/{training}/{column}", found[OWN[training]]
    for (network, data), own in Rows((*rows, *table_12.kept(profile))).by("network", "dataset"):
        if is_complete(own, data, images):
            kind, training = parts(network)
            kind, note = kind.removeprefix(f"{data}-").replace("-plus", "+"), f"of {own.total('count')} images"
            yield f"table-2/{data}-{kind}/{training}", Value(share(own, "certified"), note)


@table_8.solve
def certify_and_attack(case: Case) -> dict:
    """Certify one group of images, and search for adversarial points with the paper's attack: 100 steps of 0.01.

    `standing` counts the rightly labelled images for which neither the short search of Table 7 nor this one found a
    point. Images that Box or CROWN-IBP (R) certifies have none, and are not searched.
    """
    start = time.perf_counter()
    outcome = certify_group(case)
    found, x, lower, upper, labels = questions(case)
    _, left = standing(*(case[name] for name in ("network", "dataset", "epsilon_pixel", "first", "count")))
    boxes, safe, broken = InputSet.boxes(lower, upper), np.zeros_like(left), np.zeros_like(left)
    with one_torch_thread():
        for method in ("box", "crown_ibp"):
            safe |= certify(found.network, boxes, labels, method, consider=left & ~safe).certified
        asked = np.flatnonzero(left & ~safe)
        if len(asked):
            step = found.normalisation.steps_to_input(0.01, x.shape[1])
            part = [array[asked] for array in (x, lower, upper, labels)]
            broken[asked] = attacks.batched_pgd(found.network, *part, step=step, steps=100, seed=1)
    return {
        **{name: outcome[name] for name in ("correct", "certified")},
        "standing": int((left & ~broken).sum()),
        "attacked": len(asked),
        "seconds": round(time.perf_counter() - start, 3),
    }


@table_8.table
def accuracies(rows: Rows) -> Table:
    """Return accuracy, images that attacks leave, and certified images, in percent."""
    lines = []
    for (network,), own in rows.by("network"):
        shares = (share(own, name) for name in ("correct", "standing", "certified"))
        lines.append((label(network), TITLES[OWN[training_of(network)]], *shares))
    head = ("network, trained with", "certified with", "accuracy %", "PGD %", "certified %")
    return Table(head, lines, tolerance={"PGD %": one_image(rows)})


def robustness_bars(rows: Rows, title: str, marks: Mapping[str, Sequence] | None = None) -> figures.Drawing:
    """Draw certified, undecided and attacked images of each network, in the paper profile with the printed numbers.

    Those of Tables 8 to 12 are known here; others are marks, network -> (certified, not attacked) or None for either.
    """
    table, bars = OWN_CERTIFICATES.get(rows[0]["result"]), []
    printed = table.printed if table is not None and rows[0]["profile"] == "paper" else {}
    for (network,), own in rows.by("network"):
        certified, unbroken, images = (own.total(name) for name in ("certified", "standing", "count"))
        ours = accuracy_cells(own, images, own[0]["epsilon_pixel"]) if printed else ()
        known = {id.split("/")[-1]: printed.get(id) for id in ours}
        counts = certified, images - unbroken, images
        own_marks = known.get("certified"), known.get("pgd")
        bars.append((label(network), *counts, *(marks or {}).get(network, own_marks)))
    return figures.stacked_ratios(bars, title)


@table_8.drawing(accuracies)
def draw(rows: Rows) -> figures.Drawing:
    """Draw certified, undecided and attacked images of each network."""
    drawing = robustness_bars(rows, "certified, undecided and attacked images")
    ranked = sorted((share(own, "certified"), label(network)) for (network,), own in rows.by("network"))
    (least, _), (most, _) = ranked[0], ranked[-1]
    if least == most:
        return drawing
    last, first = (" and ".join(name for own, name in ranked if own == end) for end in (least, most))
    return drawing.saying(f"Most images are certified by {first} ({most:.1f} %), fewest by {last} ({least:.1f} %)")


@table_8.cells
def accuracy_cells(rows: Rows, images: int, epsilon_pixel: float) -> Values:
    """Yield `table-8/0.3/box/accuracy` and so on; `table-12/svhn/box/accuracy` where the table has one radius."""
    for (result, network, data), own in rows.by("result", "network", "dataset"):
        if is_complete(own, data, images):
            number = result.split("-")[1]
            prefix = f"table-{number}/{data if number == '12' else f'{epsilon_pixel:g}'}/{training_of(network)}"
            for name, column in (("accuracy", "correct"), ("pgd", "standing"), ("certified", "certified")):
                yield f"{prefix}/{name}", Value(share(own, column), f"of {own.total('count')} images")


table_9 = table_8.same("table-9-mnist-conv")
table_10 = table_8.same("table-10-fashionmnist-fc")
table_11 = table_8.same("table-11-fashionmnist-conv")
table_12 = table_8.same("table-12-svhn-cifar10")
OWN_CERTIFICATES = {table.name: table for table in (table_8, table_9, table_10, table_11, table_12)}
