"""Certified ratio against radius: each relaxation of Table 2, the exact answer, and what attacks leave.

There is one row for each image, L-infinity radius and set. Relaxations that contain each other are not asked twice:
what order 1 certifies, "1+bounds" and "1+cuts" certify too, and where an attack succeeds none does.
"""

import time
from itertools import product

import numpy as np

from tightrope import figures
from tightrope.outward import at_most
from tightrope.propagation.fixpoint import fixpoint_bounds
from tightrope.question import Limits, Verdict
from tightrope.verifiers.robustness import certify
from tightrope.workbench.cases import first_images
from tightrope.workbench.experiment import Case, Cases, Experiment, Radii, Rows, Table
from tightrope.workbench.records import tree_folder
from tightrope.workbench.rows import percent
from .common import PAPER, SETS, balls, cases_around, question

table_2_radii = Experiment(PAPER, "table-2-radii")
FIXPOINTS, ORDERS = ("interval", "zonotope"), ("1", "1+bounds", "1+cuts")
SECONDS = 60.0  # of the tree of one label, processor time


@table_2_radii.cases
def cases(network: str, curve_images: int, curve_epsilons: Radii, seed: int) -> Cases:
    """Return one case for each image, radius and set."""
    images, options = first_images(network, curve_images), {"seed": seed, "time_limit": SECONDS}
    return cases_around(network, images, balls((), curve_epsilons), ["exact"], options)


@table_2_radii.solve
def certify_by_each(case: Case) -> dict:
    """Attack, and ask the relaxations from the loosest on; the labels that order 1 leaves open are decided by trees."""
    network, region, label = question(case)
    seed, time_limit = (case["options"][name] for name in ("seed", "time_limit"))
    began, certified, nodes = time.perf_counter(), list[str](), 0
    report = certify(network, region, label, complete=False, limits=Limits(seed=seed))
    verdict = report.verdict
    if verdict is Verdict.CERTIFIED:
        certified = list(ORDERS)
    elif verdict is Verdict.UNKNOWN:
        verdict, split = Verdict.CERTIFIED, list[int]()  # split: what a root did not decide
        limits = Limits(time=time_limit, seed=seed, trees=tree_folder())
        for target in (decision.label for decision in report.decisions if decision.verdict is not Verdict.CERTIFIED):
            (found,) = certify(network, region, label, targets=[target], limits=limits).decisions
            own = 0 if found.tree is None else found.tree.nodes
            nodes += own
            if found.verdict is not Verdict.CERTIFIED:
                verdict = found.verdict
            if verdict is Verdict.FALSIFIED:
                break
            if own > 1 or found.verdict is not Verdict.CERTIFIED:
                split.append(target)
        if not split:
            certified = ["1+bounds", "1+cuts"]
        elif verdict is not Verdict.FALSIFIED:
            asked = {"targets": split, "order": "1+cuts", "complete": False, "attack": False}
            certified = ["1+cuts"] if certify(network, region, label, **asked).verdict is Verdict.CERTIFIED else []
    if verdict is Verdict.FALSIFIED:
        certified = []
    else:
        bounds = {name: fixpoint_bounds(network, region, name).margins(network, label) for name in FIXPOINTS}
        certified = [name for name in FIXPOINTS if np.nanmax(bounds[name]) < 0] + certified
    seconds = round(time.perf_counter() - began, 3)
    return {"label": label, "verdict": verdict.value, "certified_by": certified, "nodes": nodes, "seconds": seconds}


def counts_of(rows: Rows) -> dict[str, int]:
    """Return how many images of one set and radius are not falsified, robust, certified; the largest first.

    An image that anything certifies is robust: "exact" counts these, "not falsified" all but those that have an attack.
    In between there is what no tree decided in its time.
    """
    robust = sum(row["verdict"] == "certified" or bool(row["certified_by"]) for row in rows)
    counts = {"not falsified": len(rows) - rows.count(verdict="falsified"), "exact": robust}
    for method in (*ORDERS[::-1], *FIXPOINTS[::-1]):
        name = f"order {method}" if method == "1" else method
        counts[name] = sum(method in row["certified_by"] for row in rows)
    return counts


def shares(rows: Rows) -> dict[str, float]:
    """Return the counts of :func:`counts_of` in percent, with one digit."""
    return {name: percent(count, len(rows)) for name, count in counts_of(rows).items()}


@table_2_radii.table
def along_radius(rows: Rows) -> Table:
    """Return the percentages that are not falsified, robust, and certified by each relaxation, by set and radius."""
    groups = sorted(rows.by("clip", "epsilon_pixel"))
    lines = [(SETS[clip], radius, len(own), *shares(own).values()) for (clip, radius), own in groups]
    return Table(("set", "epsilon", "images", *shares(rows)), lines)


@table_2_radii.drawing(along_radius)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the percentages against the radius, a panel for each set; below, the robust images an order misses."""
    radii, panels, missed, most = sorted(rows.different("epsilon_pixel")), {}, {}, {}
    for (clip,), own in rows.by("clip"):
        parts = [own.where(epsilon_pixel=radius) for radius in radii]
        at = [shares(part) for part in parts]
        orders = [name for name in at[0] if name in ("order 1", *ORDERS)]
        panels[SETS[clip]] = {name: (radii, [part[name] for part in at]) for name in at[0] if name not in orders[:-1]}
        gaps = {name: (radii, [part["exact"] - part[name] for part in at]) for name in orders}
        missed[f"{SETS[clip]}: robust, but not certified"] = gaps
        for part, name in product(parts, orders):  # not of the shares: these are rounded, and what is said is a bound
            counts = counts_of(part)
            most[name] = max(most.get(name, 0.0), 100 * (counts["exact"] - counts[name]) / len(part))
    title = f"certified images of the first {len(rows.different('image'))} against the L-infinity radius"
    labels = ("radius epsilon, L-infinity", "percent of images")
    drawing = figures.curves({**panels, **missed}, labels, title, columns=len(panels))
    said = ", ".join(f"{at_most(gap, 3)} % by {name}" for name, gap in most.items())
    return drawing.saying(f"Robust, but not certified, are at most {said}, at any radius")
