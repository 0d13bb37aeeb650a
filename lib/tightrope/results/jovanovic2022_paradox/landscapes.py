"""Figures 5 and 6: gradient ascent on the bound of a tight relaxation and on Box's, on random networks.

The setting is that of Appendix F: one input, two hidden layers of ten neurons, two outputs, input, weights and biases
whole numbers from -4 to 4, the radius uniform from 0.1 to 4.1. The weights of the first layer move along the gradient
of the first output at the input, scaled to largest entry 1. The paper shows the network that "best illustrates the
behavior"; here all networks of a range of seeds are counted, and one is drawn by a rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tightrope import figures
from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.propagation.ascent import Path, Steps, ascend
from tightrope.propagation.continuity import jumps, output_gradient, shifted_lower_bounds
from tightrope.results.jovanovic2022_paradox.common import PAPER, plain_case
from tightrope.results.jovanovic2022_paradox.shapes import broken, named
from tightrope.threads import one_torch_thread
from tightrope.workbench.cases import solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.parameters import COUNT
from tightrope.workbench.records import Store
from tightrope.workbench.registry import drawn_profile
from tightrope.workbench.tables import Table

FIGURE_5, FIGURE_6 = "figure-5-discontinuous-descent", "figure-6-sensitive-landscape"
#: The landscape of one network, of the same result.
SUFFIX = "-drawn"
#: Relaxation and steps as printed.
PRINTED = {FIGURE_5: ("crown", Steps(0.02, 0.99, 20)), FIGURE_6: ("deepz", Steps(0.005, 0.99, 100))}
#: Points of a landscape on which its highest and lowest value are looked for.
POINTS = 101
#: Points of one step between which a jump is looked for.
CELLS = 9
#: A path is trapped if its end is this part of the landscape's height below the highest point, and
TRAPPED = 0.1
#: a valley of this part of the height lies between them.
VALLEY = 0.01


def random_network(seed: int) -> tuple[FeedForward, np.ndarray, float]:
    """A network of Appendix F, its input (1,) and its radius."""
    rng = np.random.default_rng(seed)
    sizes = (1, 10, 10, 2)
    weights = [rng.integers(-4, 5, (high, low)).astype(float) for low, high in pairwise(sizes)]
    biases = [rng.integers(-4, 5, size).astype(float) for size in sizes[1:]]
    x = rng.integers(-4, 5, 1).astype(float)
    return FeedForward.dense(weights, biases), x, float(rng.uniform(0.1, 4.1))


@dataclass(frozen=True)
class Ascents:
    """Rows of Figure 5 or 6: one for each network whose output moves with its first layer."""

    rows: tuple[dict, ...]
    shown: Mapping | None

    @property
    def counts(self) -> Table:
        """How often the tight relaxation ends lower than Box, and what precedes it, over all networks."""
        rows = [row for row in self.rows if not row["flat"]]
        tight = named(rows[0]["method"])
        worse = [row for row in rows if row["end"] < row["box_end"]]
        lines = [
            ("networks", len(rows)),
            (f"{tight} starts higher than Box or with it", sum(r["start"] >= r["box_start"] for r in rows)),
            (f"{tight} ends lower than Box", len(worse)),
            ("... although its landscape goes above Box's end", sum(r["highest"] > r["box_end"] for r in worse)),
            (f"a step of {tight} falls at a jump", sum(r["fallen"] > 0 for r in rows)),
            ("... and its path ends lower than Box's", sum(r["fallen"] > 0 for r in worse)),
            (f"{tight} ends below a higher point behind a valley", sum(r["trapped"] for r in rows)),
            ("... and its path ends lower than Box's", sum(r["trapped"] for r in worse)),
            ("Box ends below a higher point behind a valley", sum(r["box_trapped"] for r in rows)),
        ]
        return Table(("over all networks", "count"), tuple(lines))

    @property
    def example(self) -> Table:
        """Start, end and highest point of both relaxations on the network that is drawn."""
        row = next(row for row in self.rows if row["seed"] == self.shown["seed"])
        keys = ("start", "end", "highest")
        lines = [(named(row["method"]), *(round(row[key], 1) for key in keys)),
                 ("Box", *(round(row[f"box_{key}"], 1) for key in keys))]  # fmt: skip
        return Table(("relaxation", "bound at the start", "at the end", "highest on the landscape"), tuple(lines))

    def draw(self) -> figures.Drawing:
        """Draw both landscapes of one network and the paths on them."""
        if self.shown is None:
            raise InputError("networks: none of them shows what the figure is about; give more, or another first one.")
        drawing = drawn(self.shown)
        drawing.save(PAPER, f"{self.rows[0]['result']}.{drawn_profile(self.rows)}", self.counts)
        return drawing


def drawn(shown: Mapping) -> figures.Drawing:
    """Draw what :meth:`Climb.landscape` gives."""
    landscapes = {named(m): broken(shown["shifts"], shown[m], shown["jumps"][m]) for m in shown["paths"]}
    paths = {named(m): path for m, path in shown["paths"].items()}
    return figures.ascents(landscapes, paths, "ascent on two bounds")


def ascents(result: str, networks: int, first: int = 0, profile: str = "quick", store: Store | None = None) -> Ascents:
    """Figure 5 (CROWN) or 6 (DeepZ) beside Box, on networks of the seeds first, first + 1, and so on.

    Drawn is the network with the largest lead of Box at the end, as a part of the height of the tight landscape, among
    those where the tight landscape goes higher than Box's end; for Figure 5 also a step must fall at a jump.
    """
    rows = solved(ascent_cases(result)(dict(networks=networks, first=first, profile=profile)), climb, store)
    able = [row for row in rows if not row["flat"] and row["highest"] > row["box_end"] > row["end"]]
    able = [row for row in able if row["fallen"] > 0 or result == FIGURE_6]
    if not able:
        return Ascents(rows, None)
    chosen = max(able, key=lambda row: (row["box_end"] - row["end"]) / (row["highest"] - row["lowest"]))
    case = plain_case(result + SUFFIX, profile, method=chosen["method"], seed=chosen["seed"])
    return Ascents(rows, solved([case], landscape, store)[0])


def ascent_cases(result: str):
    """One case for each network."""

    @checked(networks=COUNT, seeds=COUNT)  # seeds: of the degrees of Figure 6
    def cases(parameters: Mapping) -> list[dict]:
        method = PRINTED[result][0]
        return [
            plain_case(result, parameters["profile"], method=method, seed=seed)
            for seed in range(parameters["first"], parameters["first"] + parameters["networks"])
        ]

    return cases


class Climb:
    """One random network, its direction, and the paths of Box and the tight relaxation; `flat` without a direction."""

    def __init__(self, method: str, steps: Steps, seed: int):
        self.method = method
        self.network, x, radius = random_network(seed)
        self.ends = x - radius, x + radius
        self.direction = output_gradient(self.network, x, 0)
        self.flat = not self.direction.any()
        self.paths: dict[str, Path] = {}
        if not self.flat:
            with one_torch_thread():
                for name in dict.fromkeys(("box", method)):
                    self.paths[name] = ascend(self.network, *self.ends, 0, self.direction, name, steps)

    def span(self) -> tuple[float, float]:
        """Where both paths are, and a quarter of that on each side."""
        shifts = np.concatenate([path.shifts for path in self.paths.values()])
        room = max(0.25 * float(np.ptp(shifts)), 0.1)
        return float(shifts.min()) - room, float(shifts.max()) + room

    def values(self, method: str):
        """Bounds at many shifts."""

        def at(shifts: Sequence[float]) -> np.ndarray:
            return shifted_lower_bounds(self.network, *self.ends, 0, self.direction, shifts, method)

        return at

    def fallen(self) -> float:
        """The largest loss of one step of the tight relaxation over a jump that goes down in its direction."""
        path, most = self.paths[self.method], 0.0
        for k in np.flatnonzero(np.diff(path.values) < 0):
            start, stop = path.shifts[k : k + 2]
            found = jumps(self.values(self.method), min(start, stop), max(start, stop), CELLS)
            if any((jump.height < 0) == (stop > start) for jump in found):
                most = max(most, float(path.values[k] - path.values[k + 1]))
        return most

    def landscape(self, points: int = 4 * POINTS - 3) -> dict:
        """Both bounds along the shift with their jumps, and the paths."""
        grid = np.linspace(*self.span(), points)
        outcome: dict = {"shifts": grid.round(6).tolist(), "jumps": {}, "paths": {}}
        with one_torch_thread():
            for name, path in self.paths.items():
                curve = self.values(name)(grid)
                outcome[name] = curve.round(4).tolist()
                found = jumps(self.values(name), grid[0], grid[-1], points, 1e-4 * float(np.ptp(curve)))
                outcome["jumps"][name] = [[jump.at, round(jump.before, 4), round(jump.after, 4)] for jump in found]
                outcome["paths"][name] = [path.shifts.round(6).tolist(), path.values.round(4).tolist()]
        return outcome


def climb(case: Mapping) -> dict:
    """Start, end, and the landscape's height for both relaxations of one network."""
    found = Climb(*PRINTED[case["result"]], case["seed"])
    if found.flat:
        return {"flat": True}
    outcome: dict = {"flat": False}
    grid = np.linspace(*found.span(), POINTS)
    with one_torch_thread():
        for name, prefix in ((found.method, ""), ("box", "box_")):
            path, curve = found.paths[name], found.values(name)(grid)
            highest, lowest = float(max(curve.max(), path.values.max())), float(min(curve.min(), path.values.min()))
            end = float(path.values[-1])
            between = curve[slice(*sorted((int(curve.argmax()), int(np.searchsorted(grid, path.shifts[-1])))))]
            valley = end - float(between.min(initial=end))
            for key, value in (("start", path.values[0]), ("end", end), ("highest", highest), ("lowest", lowest)):
                outcome[prefix + key] = round(float(value), 6)
            far, deep = highest - end > TRAPPED * (highest - lowest), valley > VALLEY * (highest - lowest)
            outcome[f"{prefix}trapped"] = bool(far and deep)
        outcome["fallen"] = round(found.fallen(), 6)
    return outcome


def landscape(case: Mapping) -> dict:
    """Both landscapes of one network with their jumps, and the paths."""
    return Climb(*PRINTED[case["result"].removesuffix(SUFFIX)], case["seed"]).landscape()
