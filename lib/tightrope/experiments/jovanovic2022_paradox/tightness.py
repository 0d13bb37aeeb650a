"""Tables 1, 3 and 4, Figures 2 and 9: images that each relaxation certifies as the radius grows, and the area below.

Figures 4 and 10: the bound of one output as the first layer's weights move.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope.experiments import figures
from tightrope.experiments.jovanovic2022_paradox.common import (
    CERTIFIERS,
    PAPER,
    chunks,
    dataset,
    entry,
    make_case,
    questions,
    solved,
)
from tightrope.experiments.jovanovic2022_paradox.cross_certification import SEARCH_LENGTH, SEARCH_STEPS, short
from tightrope.experiments.jovanovic2022_paradox.shapes import PROGRAMS, broken, named
from tightrope.experiments.records import Store
from tightrope.experiments.registry import drawn_profile
from tightrope.experiments.tables import Table
from tightrope.propagation.certify import certify, one_thread
from tightrope.propagation.continuity import jumps, output_gradient, shifted_lower_bounds
from tightrope.propagation.inputs import InputSet
from tightrope.verifiers.triangle import layerwise_bounds

TABLE_1, TABLE_4 = "table-1-paradox", "table-4-cr-auc"
FIGURE_2, FIGURE_9 = "figure-2-cr-curves-a", "figure-9-cr-curves-f"
FIGURE_4, FIGURE_10 = "figure-4-shifted-bias", "figure-10-shifted-bias-mnist"
CURVES = (*CERTIFIERS, "crown_0")
#: Relaxations of which one is never tighter than another: an image that the first certifies, the second does.
IMPLIED = {"hbox": ("box",), "parallelogram": ("box", "hbox"), "triangle": CERTIFIERS}


def cr_auc(radii: Sequence[float], percent: Sequence[float]) -> float:
    """The area under the certified ratio (in percent) over the radius, by the trapezoidal rule, as the paper prints it.

    Examples
    --------
    >>> cr_auc([0.0, 0.1], [100.0, 0.0])
    5.0
    """
    return float(np.trapezoid(percent, radii))


@dataclass(frozen=True)
class Tightness:
    """Rows of CR curves."""

    rows: tuple[dict, ...]

    @property
    def curves(self) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
        """Network -> relaxation -> (radii, certified images in percent)."""
        found: dict = {}
        for row in self.rows:
            count, certified = (
                found.setdefault(row["network"], {})
                .setdefault(row["method"], {})
                .setdefault(row["epsilon_pixel"], (0, 0))
            )
            found[row["network"]][row["method"]][row["epsilon_pixel"]] = (
                count + row["count"], certified + row["certified"])  # fmt: skip
        return {
            network: {
                named(method): (sorted(radii), [100 * radii[e][1] / radii[e][0] for e in sorted(radii)])
                for method, radii in methods.items()
            }
            for network, methods in found.items()
        }

    @property
    def areas(self) -> Table:
        """CR-AUC: a line for each relaxation, a column for each network."""
        curves = self.curves
        methods = list(dict.fromkeys(name for lines in curves.values() for name in lines))
        lines = [
            (name, *(round(cr_auc(*lines[name]), 3) if name in lines else None for lines in curves.values()))
            for name in methods
        ]
        return Table(("relaxation", *(short(network) for network in curves)), tuple(lines))

    @property
    def order(self) -> list[str]:
        """The relaxations from loose to tight, by the sum of their areas."""
        return [line[0] for line in sorted(self.areas.rows, key=lambda line: sum(filter(None, line[1:])))]

    def draw(self, name: str) -> figures.Drawing:
        """Draw the curves and write them under figures/."""
        panels = {short(network): lines for network, lines in self.curves.items()}
        drawing = figures.curves(panels, ("radius, pixel units", "certified %"), "certified images over the radius",
                                 shared=True)  # fmt: skip
        drawing.save(PAPER, f"{name}.{drawn_profile(self.rows)}", self.areas)
        return drawing


def tightness(
    result: str,
    networks: Sequence[str],
    images: int,
    largest: Sequence[float],
    count: int = 100,
    methods: Sequence[str] = CURVES,
    group: int = 500,
    profile: str = "quick",
    store: Store | None = None,
) -> Tightness:
    """CR curves (Figures 2 and 9) and CR-AUC (Tables 1 and 4) of networks that were not trained for certificates.

    Parameters
    ----------
    result
        Table 1 or 4, Figure 2 or 9: under which name the rows are kept.
    networks
        Names of the zoo.
    images
        The first test images.
    largest
        The largest radius for each network; the radii are `count` numbers from 0 to it.
    methods
        Relaxations; "triangle" and "parallelogram" solve linear programs.
    """
    parameters = dict(networks=networks, images=images, largest=largest, count=count, methods=methods, group=group,
                      profile=profile)  # fmt: skip
    return Tightness(solved(tightness_cases(result)(parameters), count_at_radius, store))


def tightness_cases(result: str):
    """The cases of one of these results: one per network, group of images, radius and relaxation."""

    def cases(parameters: Mapping) -> list[dict]:
        return [
            make_case(result, parameters["profile"], network, epsilon, method, {"elision": True}, **part)
            for network, largest in zip(parameters["networks"], parameters["largest"], strict=True)
            for part in chunks(parameters["images"], parameters.get("group", 500), dataset(entry(network).dataset))
            for epsilon in np.linspace(0, largest, parameters["count"]).round(9)
            for method in parameters.get("methods", CURVES)
        ]

    return cases


def paradox(found: Tightness, scores: Mapping[str, float]) -> Table:
    """Table 1: tightness on one network, and the certified images (percent) after training with each relaxation.

    Parameters
    ----------
    found
        CR curves of one network.
    scores
        Training score by the paper's word for the relaxation.
    """
    areas = {line[0]: line[1] for line in found.areas.rows}
    lines = sorted((areas[name], name, score) for name, score in scores.items() if name in areas)
    return Table(("relaxation", "tightness (CR-AUC)", "training score"), tuple((n, a, s) for a, n, s in lines))


def draw_paradox(table: Table, profile: str) -> figures.Drawing:
    """Draw Table 1: tightness against training score."""
    points = [(name, area, score) for name, area, score in table.rows]
    drawing = figures.pairs(points, ("tightness (CR-AUC)", "certified % after training"), "the paradox")
    drawing.save(PAPER, f"{TABLE_1}.{profile}", table)
    return drawing


def count_at_radius(case: Mapping) -> dict:
    """Count the certified images of one group at one radius."""
    start = time.perf_counter()
    found, x, lower, upper, labels = questions(case)
    asked = found.network.predict(x) == labels
    done = np.zeros_like(asked)
    with one_thread():
        boxes = InputSet.boxes(lower, upper)
        for method in IMPLIED.get(case["method"], ()):
            done |= certify(found.network, boxes, labels, method, consider=asked & ~done).certified
        rows = asked & ~done
        if case["method"] in PROGRAMS:
            from tightrope import attacks

            step = SEARCH_LENGTH * found.normalisation.radius_to_input(case["epsilon_pixel"])
            fooled = attacks.batched_pgd(found.network, x, lower, upper, labels, step=step, steps=SEARCH_STEPS, seed=0)
            for n in np.flatnonzero(rows & ~fooled):
                worst = layerwise_bounds(found.network, lower[n], upper[n], int(labels[n]), case["method"]).margins
                done[n] = (np.delete(worst, labels[n]) < 0).all()
        else:
            done |= certify(found.network, boxes, labels, case["method"], consider=rows).certified
    return {"certified": int(done.sum()), "seconds": round(time.perf_counter() - start, 3)}


# ------------------------------------------------------------------------------------------------- Figures 4, 10


@dataclass(frozen=True)
class ShiftedBounds:
    """Lower bounds of one output against a shift of the first layer."""

    rows: tuple[dict, ...]

    @property
    def jumps(self) -> Table:
        """Jumps of each curve: how many, the largest, and whether the relaxation is continuous by theorem."""
        lines = []
        for row in self.rows:
            sizes = [abs(after - before) for _, before, after in row["jumps"]]
            lines.append((short(row["network"]), named(row["method"]), len(sizes), round(max(sizes, default=0.0), 3),
                          round(float(np.max(row["values"])), 3)))  # fmt: skip
        return Table(("network", "relaxation", "jumps", "largest", "highest bound"), tuple(lines))

    def draw(self, name: str) -> figures.Drawing:
        """Draw the curves with their jumps."""
        panels: dict = {}
        for row in self.rows:
            panels.setdefault(short(row["network"]), {})[named(row["method"])] = broken(
                row["shifts"], row["values"], row["jumps"]
            )
        drawing = figures.curves(
            panels, (r"$\delta$", "lower bound of one output"), "bounds along a shift of the weights"
        )
        drawing.save(PAPER, f"{name}.{drawn_profile(self.rows)}", self.jumps)
        return drawing


def shifted_bounds(
    result: str,
    networks: Sequence[str],
    image: int,
    epsilon_pixel: float,
    reach: float,
    points: int = 201,
    methods: Sequence[str] = CERTIFIERS,
    profile: str = "quick",
    store: Store | None = None,
) -> ShiftedBounds:
    """Figures 4 and 10: the first layer's weights move by delta along the gradient of the true label's output.

    Parameters
    ----------
    reach
        delta runs from -reach to reach; the gradient is scaled so that its largest entry is 1.
    points
        Of the grid in delta; a jump has to show between two of them.
    """
    parameters = dict(result=result, networks=networks, image=image, epsilon_pixel=epsilon_pixel, reach=reach,
                      points=points, methods=methods, profile=profile)  # fmt: skip
    return ShiftedBounds(solved(shifted_cases(result)(parameters), shifted_curve, store))


def shifted_cases(result: str):
    """The cases of Figure 4 or 10: one per network and relaxation."""

    def cases(parameters: Mapping) -> list[dict]:
        options = {"reach": float(parameters["reach"]), "points": int(parameters["points"])}
        return [
            make_case(result, parameters["profile"], network, parameters["epsilon_pixel"], method, options,
                      first=int(parameters["image"]), count=1)
            for network in parameters["networks"]
            for method in parameters.get("methods", CERTIFIERS)
        ]  # fmt: skip

    return cases


def shifted_curve(case: Mapping) -> dict:
    """One curve and its jumps."""
    found, x, lower, upper, labels = questions(case)
    reach, points = case["options"]["reach"], case["options"]["points"]
    output = int(labels[0])
    direction = output_gradient(found.network, x[0], output)

    def values(shifts):
        with one_thread():
            return shifted_lower_bounds(found.network, lower[0], upper[0], output, direction, shifts, case["method"])

    grid = np.linspace(-reach, reach, points)
    curve = values(grid)
    smallest = 1e-4 * max(1.0, float(np.ptp(curve)))
    jumped = jumps(values, -reach, reach, points, smallest)
    return {
        "shifts": grid.round(9).tolist(),
        "values": curve.round(6).tolist(),
        "jumps": [[jump.at, round(jump.before, 6), round(jump.after, 6)] for jump in jumped],
    }
