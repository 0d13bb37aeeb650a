"""Figures 5 and 6: gradient ascent on the bound of a tight relaxation and on Box's, on random networks.

The setting is that of Appendix F: one input, two hidden layers of ten neurons, two outputs, input, weights and biases
whole numbers from -4 to 4, the radius uniform from 0.1 to 4.1. The weights of the first layer move along the gradient
of the first output at the input, scaled to largest entry 1. The paper shows the network that "best illustrates the
behavior"; here all networks of a range of seeds are counted, and one is drawn by a rule.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from tightrope import figures
from tightrope.errors import InputError
from tightrope.networks import FeedForward
from tightrope.propagation.continuity import Path, ShiftedBound, Steps, jumps, output_gradient
from tightrope.threads import one_torch_thread
from tightrope.workbench.experiment import Case, Cases, Experiment, Rows, Table, Value, Values
from .common import PAPER, TITLES, broken
from .degrees import sensitivity_degrees

FIGURE_5, FIGURE_6 = "figure-5-discontinuous-descent", "figure-6-sensitive-landscape"
#: Relaxation and steps as printed.
PRINTED = {FIGURE_5: ("crown", Steps(0.02, 0.99, 20)), FIGURE_6: ("deepz", Steps(0.005, 0.99, 100))}
#: Behind a figure's name, the kind of row that has the landscape of its drawn network.
DRAWN = "-drawn"
#: Points of a landscape on which its highest and lowest value are looked for, and of the drawn one.
POINTS, DRAWN_POINTS = 101, 401
#: Points of one step between which a jump is looked for.
STEP_POINTS = 9
#: A path is trapped if its end is this part of the landscape's height below the highest point, and
TRAPPED = 0.1
#: a valley of this part of the height lies between them.
VALLEY = 0.01


def random_network(seed: int) -> tuple[FeedForward, np.ndarray, float]:
    """Return a network of Appendix F, its input (1,) and its radius."""
    rng = np.random.default_rng(seed)
    sizes = (1, 10, 10, 2)
    weights = [rng.integers(-4, 5, (high, low)).astype(float) for low, high in pairwise(sizes)]
    biases = [rng.integers(-4, 5, size).astype(float) for size in sizes[1:]]
    x = rng.integers(-4, 5, 1).astype(float)
    return FeedForward.dense(weights, biases), x, float(rng.uniform(0.1, 4.1))


class Ascents:
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
                    self.paths[name] = self.values(name).ascend(steps)

    def span(self) -> tuple[float, float]:
        """Return where both paths are, and a quarter of that on each side."""
        shifts = np.concatenate([path.shifts for path in self.paths.values()])
        room = max(0.25 * float(np.ptp(shifts)), 0.1)
        return float(shifts.min()) - room, float(shifts.max()) + room

    def values(self, method: str) -> ShiftedBound:
        """Return the function that bounds the output at many shifts."""
        return ShiftedBound(self.network, *self.ends, 0, self.direction, method)

    def fallen(self) -> float:
        """Return the largest loss of one step of the tight relaxation over a jump that goes down in its direction."""
        path, most = self.paths[self.method], 0.0
        for k in np.flatnonzero(np.diff(path.values) < 0):
            start, stop = path.shifts[k : k + 2]
            found = jumps(self.values(self.method), min(start, stop), max(start, stop), STEP_POINTS)
            if any((jump.height < 0) == (stop > start) for jump in found):
                most = max(most, float(path.values[k] - path.values[k + 1]))
        return most

    def landscape(self, points: int) -> dict:
        """Return both bounds along the shift with their jumps, and the paths."""
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


def ascend_on_both(case: Case) -> dict:
    """Return start, end, and the landscape's height for both relaxations of one network."""
    found = Ascents(*PRINTED[case["result"]], case["seed"])
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


def counts(rows: Rows) -> Table:
    """Return how often the tight relaxation ends lower than Box, and what precedes it, over all networks."""
    rows = rows.where(flat=False)
    tight = TITLES[rows[0]["method"]]
    worse = Rows(row for row in rows if row["end"] < row["box_end"])
    lines = [
        ("networks", len(rows)),
        (f"{tight} starts higher than Box or with it", sum(r["start"] >= r["box_start"] for r in rows)),
        (f"{tight} ends lower than Box", len(worse)),
        ("... although its landscape goes above Box's end", len(_ends_below(worse))),
        (f"a step of {tight} falls at a jump", sum(r["fallen"] > 0 for r in rows)),
        ("... and its path ends lower than Box's", sum(r["fallen"] > 0 for r in worse)),
        (f"{tight} ends below a higher point behind a valley", rows.total("trapped")),
        ("... and its path ends lower than Box's", worse.total("trapped")),
        ("Box ends below a higher point behind a valley", rows.total("box_trapped")),
    ]
    return Table(("over all networks", "count"), lines)


def _ends_below(rows: Rows) -> list[dict]:
    """Return the rows where the tight relaxation ends lower than Box although its landscape goes above Box's end."""
    return [row for row in rows.where(flat=False) if row["highest"] > row["box_end"] > row["end"]]


def illustration(rows: Rows) -> dict | None:
    """Return the row of the network that is drawn; None if none shows what the figure is about.

    It has the largest lead of Box at the end, as a part of the height of the tight landscape, among those where the
    tight landscape goes higher than Box's end; for Figure 5 also a step must fall at a jump.
    """
    able = [row for row in _ends_below(rows) if row["fallen"] > 0 or row["result"] == FIGURE_6]
    return max(able, key=lambda row: (row["box_end"] - row["end"]) / (row["highest"] - row["lowest"]), default=None)


def example(rows: Rows) -> Table:
    """Return start, end and highest point of both relaxations on the network that is drawn."""
    row, lines = illustration(rows), []
    if row is not None:
        for name, prefix in ((row["method"], ""), ("box", "box_")):
            lines.append((TITLES[name], *(row[prefix + key] for key in ("start", "end", "highest"))))
    head = ("relaxation", "bound at the start", "at the end", "highest on the landscape")
    tolerance = dict.fromkeys(head[1:], 0.2)  # an ascent over jumps
    return Table(head, lines, tolerance, dict.fromkeys(head[1:], "lower"))


def drawn_case(rows: Rows) -> list[dict]:
    """Return the case of the network that is drawn, from the rows of its figure."""
    row = illustration(Rows(rows))
    return [] if row is None else [{name: row[name] for name in ("profile", "method", "seed")}]


def landscape(case: Case) -> dict:
    """Return both landscapes of one network with their jumps, and the paths."""
    return Ascents(*PRINTED[case["result"].removesuffix(DRAWN)], case["seed"]).landscape(DRAWN_POINTS)


def draw(rows: Rows, drawn: Rows) -> figures.Drawing:
    """Draw both landscapes of one network and the paths on them."""
    if not drawn:
        raise InputError("draws: no network shows what the figure is about; give more, or another first one.")
    paths = {TITLES[method]: path[1] for method, path in drawn[0]["paths"].items()}
    ends = (f"{name} from {values[0]:.3g} to {values[-1]:.3g}" for name, values in paths.items())
    known = rows.where(flat=False)
    worse = sum(row["end"] < row["box_end"] for row in known)
    tight = f"On {worse} of {len(known)} networks {TITLES[rows[0]['method']]} ends lower than Box"
    return draw_landscape(drawn[0]).saying(f"{tight}; here ascent leads {', '.join(ends)}")


def draw_landscape(found: Mapping) -> figures.Drawing:
    """Draw what :meth:`Ascents.landscape` gives."""
    paths = {TITLES[method]: path for method, path in found["paths"].items()}
    landscapes = {TITLES[m]: broken(found["shifts"], found[m], found["jumps"][m]) for m in found["paths"]}
    jumps = [jump for method in found["paths"] for jump in found["jumps"][method]]
    return figures.ascents(landscapes, paths, jumps, "ascent on two bounds")


def _figure(name: str, why: str, also: Sequence[Experiment] = ()) -> tuple[Experiment, Experiment]:
    """Declare Figure 5 or 6, one row for each network, and the landscape of the network that is drawn.

    A network shows the figure if it ends below Box and its column `why` is not 0.
    """
    figure, drawn = Experiment(PAPER, name, also=also), Experiment(PAPER, name + DRAWN, may_be_empty=True)

    @figure.cases
    def cases(draws: int, first: int) -> Cases:
        """Return one case for each random network, of the seeds first, first + 1, and so on."""
        return [{"method": PRINTED[name][0], "seed": seed} for seed in range(first, first + draws)]

    figure.solve(ascend_on_both)
    figure.table(counts)
    figure.table(example)
    figure.drawing(lambda rows, drawn: counts(rows))(draw)
    drawn.cases(drawn_case)
    drawn.solve(landscape)

    @figure.cells
    def cells(rows: Rows, draws: int) -> Values:
        """Yield `figure-5/shown`, 1 if a network shows what the figure does, and the jumps of the drawn landscapes."""
        if len(rows) < draws:
            return
        stem = "-".join(name.split("-")[:2])
        shown, networks = [row for row in _ends_below(rows) if row[why]], rows.count(flat=False)
        yield f"{stem}/shown", Value(int(bool(shown)), f"{len(shown)} of {networks} random networks")
        for row in drawn.kept(rows[0]["profile"]):
            for method, found in row["jumps"].items():
                yield f"{stem}/{method}/jumps", Value(len(found), f"the network of seed {row['seed']}")

    return figure, drawn


figure_5, figure_5_drawn = _figure(FIGURE_5, "fallen")
figure_6, figure_6_drawn = _figure(FIGURE_6, "trapped", also=[sensitivity_degrees])
