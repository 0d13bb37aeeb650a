"""Tightness, continuity and sensitivity of Table 2, from what other results measure."""

from math import log

import numpy as np

from tightrope.propagation.sensitivity import shared_degree
from tightrope.workbench.experiment import Rows, Value
from .common import CERTIFIERS, letter_of
from .degrees import sensitivity_degrees
from .discontinuity import figure_3
from .shifts import figure_4, figure_10
from .tightness import CLASSES, cr_auc, cr_curve, table_4

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


def properties(profile: str) -> dict[str, dict[str, Value]]:
    """Return column of Table 2 -> relaxation -> what the kept rows of a profile say."""
    curves = Rows(row for figure in (figure_3, figure_4, figure_10) for row in figure.kept(profile))
    return {
        "tightness": tightness(table_4.kept(profile)),
        "continuous": continuity(curves),
        "sensitivity": sensitivity(sensitivity_degrees.kept(profile)),
    }
