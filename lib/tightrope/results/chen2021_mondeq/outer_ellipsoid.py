"""Figure 1: the outer ellipsoid of an image's ball, seen on two labels, with sampled outputs and attacks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import attacks, figures
from tightrope.errors import InputError
from tightrope.results.chen2021_mondeq.common import PAPER, make_case, norm_text, question
from tightrope.results.chen2021_mondeq.published_ellipsoids import (
    is_published_network,
    outer_points,
    published_points,
)
from tightrope.verifiers.ellipsoid import Ellipsoid, outer_ellipsoid
from tightrope.workbench.cases import dataset, entry, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value, drawn_profile
from tightrope.workbench.tables import Table

FIGURE_1 = "figure-1-outer-ellipsoid"
NORMS = (2, "inf")


@dataclass(frozen=True)
class Figure1:
    """One row per norm, and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def numbers(self) -> Table:
        """What the picture shows, as numbers: margins are F_other - F_label, negative on the robust side."""
        y, k = self.rows[0]["label"], self.rows[0]["other"]
        lines = [
            (norm_text(row["norm"]), round(row["log_det"], 2), round(row["margin_range"][0], 2),
             round(row["margin_range"][1], 2), round(_margins(row, "samples").max(), 2),
             round(_margins(row, "attacks").max(), 2), row["strictly_robust"], round(row["reach"], 3) <= 1)
            for row in self.rows
        ]  # fmt: skip
        columns = ("norm", "log det Q", f"least F_{k} - F_{y}", "largest (proven)", "sampled", "attacked",
                   f"ellipse is below F_{k} = F_{y}", "holds every point")  # fmt: skip
        return Table(columns, tuple(lines))

    @property
    def published_points(self) -> Table:
        """The authors' own points: where they lie."""
        lines = []
        for row in self.rows:
            for kind in ("border", "attack"):
                if row[f"published_{kind}"]:
                    found = _margins(row, f"published_{kind}")
                    ends = round(found.min(), 2), round(found.max(), 2)
                    beyond, inside = int((found > 0).sum()), row["published_reach"] <= 1
                    lines.append((norm_text(row["norm"]), kind, len(found), *ends, beyond, inside))
        columns = ("norm", "points", "number", "least margin", "largest", "beyond the line", "inside our ellipsoid")
        return Table(columns, tuple(lines))

    def draw(self) -> figures.Drawing:
        """Draw both norms side by side and write them under figures/."""
        drawing = figures.outer_ellipses([_panel(row) for row in self.rows])
        drawing.save(PAPER, f"{FIGURE_1}.{drawn_profile(self.rows)}", point_table(self.rows))
        return drawing


def figure_1(
    network: str,
    image: int = 0,
    other: int = 3,
    epsilon_pixel: float = 0.1,
    samples: int = 200,
    seed: int = 0,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> Figure1:
    """Figure 1: the Ellipsoid Model of one image for L2 and L-infinity, projected onto two labels.

    Parameters
    ----------
    network, image, epsilon_pixel, seed, profile, store, solve
        As in `figure_2`.
    other
        The label on the vertical axis; the image's own is on the horizontal one.
    samples
        Sampled points of each kind: inside, on the boundary, extreme.
    """
    parameters = dict(
        network=network, image=image, other=other, epsilon_pixel=epsilon_pixel, samples=samples, seed=seed,
        profile=profile,
    )  # fmt: skip
    return Figure1(solved(figure_1_cases(parameters), solve or enclose, store))


@checked()
def figure_1_cases(parameters: Mapping) -> list[dict]:
    """One case per norm; neither ball is clipped, as in the paper."""
    found = entry(parameters["network"])
    label = dataset(found.dataset).label(parameters["image"])
    other = parameters["other"]
    if (
        isinstance(other, bool)
        or not isinstance(other, int)
        or other == label
        or not 0 <= other < found.network.classes
    ):
        raise InputError(f"other: got {other!r}; write a label 0..{found.network.classes - 1} other than {label}.")
    extra = {"other": other, "samples": parameters["samples"]}
    cases = [
        make_case(FIGURE_1, parameters, norm, parameters["epsilon_pixel"], False, parameters["image"], "ellipsoid")
        for norm in NORMS
    ]
    return [case | {"options": case["options"] | extra} for case in cases]


def enclose(case: Mapping) -> dict:
    """Solve one norm, sample outputs, and attack towards the other label from several starts."""
    network, region, label = question(case)
    options = case["options"]
    other, rng = options["other"], np.random.default_rng([options["seed"], case["image"]])
    report = outer_ellipsoid(network, region)
    if report.ellipsoid is None:
        raise InputError(f"network: no ellipsoid was proven for {case['norm']}: {report.solve.status}.")
    E = report.ellipsoid
    points = {"samples": outer_points(region, options["samples"], rng)}
    hits = [
        attacks.ascend(network, region, label, other, restarts=4, steps=steps, seed=options["seed"] + steps)
        for steps in (1, 50)
    ]
    way = np.linspace(0.2, 1, 5)[:, None, None] * (np.vstack(hits) - region.center)  # balls are convex
    points["attacks"] = region.center + way.reshape(-1, region.size)
    theirs = {"published_border": [], "published_attack": []}
    if is_published_network(case["network"]) and case["image"] == 0 and case["epsilon_pixel"] == 0.1:
        points |= {f"published_{kind}": published_points(kind, case["norm"]) for kind in ("border", "attack")}
    outputs = {name: network.logits(x) for name, x in points.items()}
    reach = {name: float(np.linalg.norm(o @ E.Q + E.b, axis=1).max()) for name, o in outputs.items()}
    a = np.eye(network.classes)[other] - np.eye(network.classes)[label]
    return {
        "label": label,
        "other": other,
        "log_det": E.log_det,
        "Q": E.Q.tolist(),
        "b": E.b.tolist(),
        "verdict": report.verdict(label).value,
        "margin_range": [-E.support(-a), E.support(a)],
        "strictly_robust": bool(E.support(a) < 0),
        "reach": max(reach["samples"], reach["attacks"]),
        "published_reach": max((r for name, r in reach.items() if name.startswith("published")), default=None),
        **theirs,
        **{name: np.round(o[:, [label, other]], 9).tolist() for name, o in outputs.items()},
        "seconds": round(report.seconds, 6),
    }


def _margins(row: Mapping, name: str) -> np.ndarray:
    points = np.array(row[name])
    return points[:, 1] - points[:, 0]


def _panel(row: Mapping) -> dict:
    E = Ellipsoid(np.array(row["Q"]), np.array(row["b"]))
    names = ("samples", "attacks", "published_border", "published_attack")
    return {
        "title": f"{norm_text(row['norm'])} ball, radius {row['epsilon_pixel']:g}",
        "labels": (row["label"], row["other"]),
        "ellipse": E.projection(row["label"], row["other"]),
        **{name: np.array(row[name]).reshape(-1, 2) for name in names},
    }


def point_table(rows: Sequence[Mapping]) -> Table:
    """Every point that is drawn."""
    lines = []
    for row in rows:
        panel = _panel(row)
        for name in ("ellipse", "samples", "attacks", "published_border", "published_attack"):
            lines += [(str(row["norm"]), name, float(x), float(y)) for x, y in panel[name]]
    return Table(("norm", "points", "label score", "other score"), tuple(lines))


def figure_1_cells(rows: Sequence[Mapping], parameters: Mapping) -> dict[str, Value]:
    """Our numbers for what Figure 1 shows."""
    values = {}
    for row in rows:
        low, high = row["margin_range"]
        margins = np.concatenate([_margins(row, n) for n in ("attacks", "published_attack") if row[n]])
        note = f"F_{row['other']} - F_{row['label']} on the ellipse: {low:.2f} to {high:.2f}"
        if row["norm"] == 2:
            values["figure-1/l2/strictly-robust"] = Value(int(row["strictly_robust"]), note)
        else:
            values["figure-1/linf/line-crosses"] = Value(int(low < 0 < high), note)
            values["figure-1/linf/attacks-beyond"] = Value(
                int((margins > 0).any()), f"{int((margins > 0).sum())} points"
            )
        inside = max(row["reach"], row["published_reach"] or 0.0)
        name = "l2" if row["norm"] == 2 else "linf"
        values[f"figure-1/{name}/points-inside"] = Value(int(inside <= 1), f"they reach {inside:.2f} of the way out")
    return values
