"""Figure 1: the outer ellipsoid of an image's ball, seen on two labels, with sampled outputs and attacks."""

import numpy as np

from tightrope import attacks, figures
from tightrope.errors import InputError
from tightrope.outward import at_least, at_most
from tightrope.question import Question
from tightrope.verifiers.ellipsoid import Ellipsoid, outer_ellipsoid
from tightrope.workbench.cases import ball_case, dataset, entry
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Row, Rows, Table, Value, Values
from .common import PAPER, is_published_network, mondeq, norm_text, question
from .published_ellipsoids import outer_points, published_points, reach

figure_1 = Experiment(PAPER, "figure-1-outer-ellipsoid")
NORMS = (2, "inf")
POINTS = ("samples", "attacks", "published_border", "published_attack")  # whose outputs a row keeps


@figure_1.cases
def cases(network: str, image: int, other: int, epsilon_pixel: float, samples: int, seed: int) -> Cases:
    """Return one case for each norm; neither ball is clipped, as in the paper.

    `other` is the label on the vertical axis, the image's own is on the horizontal one; `samples` counts points of each
    kind: inside, on the boundary, extreme.
    """
    label, classes = dataset(entry(network).dataset).label(image), mondeq(network).classes
    if other == label or other >= classes:
        raise InputError(f"other: got {other!r}; write a label 0..{classes - 1} other than {label}.")
    options = {"seed": seed, "other": other, "samples": samples}
    return [ball_case(network, norm, epsilon_pixel, False, "ellipsoid", options, image=image) for norm in NORMS]


@figure_1.solve
def enclose_and_attack(case: Case) -> dict:
    """Find the ellipsoid of one ball, sample outputs, and attack towards the other label from several starts."""
    network, region, label = question(case)
    seed, other, samples = (case["options"][name] for name in ("seed", "other", "samples"))
    report = outer_ellipsoid(network, region)
    if report.ellipsoid is None:
        raise InputError(f"network: no ellipsoid was proven for {case['norm']}: {report.solve.status}.")
    E = report.ellipsoid
    asked = Question(network, region, label, [other])
    hits = [attacks.ascend(asked, 4, steps, seed + steps)[0] for steps in (1, 50)]
    way = np.linspace(0.2, 1, 5)[:, None, None] * (np.vstack(hits) - region.center)  # balls are convex
    points = {
        "samples": outer_points(region, samples, np.random.default_rng([seed, case["image"]])),
        "attacks": region.center + way.reshape(-1, region.size),
    }
    if is_published_network(case["network"]) and case["image"] == 0 and case["epsilon_pixel"] == 0.1:
        points |= {f"published_{kind}": published_points(kind, case["norm"]) for kind in ("border", "attack")}
    outputs = {name: network.logits(x) for name, x in points.items()}
    reached = {name: reach(E, o) for name, o in outputs.items()}
    a = np.eye(network.classes)[other] - np.eye(network.classes)[label]
    return {
        "label": label,
        "other": other,
        "log_det": E.log_det,
        "Q": E.Q.tolist(),
        "b": E.b.tolist(),
        "verdict": report.verdict_of(label).value,
        "margin_range": [-E.support(-a), E.support(a)],
        "strictly_robust": bool(E.support(a) < 0),
        "reach": max(reached["samples"], reached["attacks"]),
        "published_reach": max((reached[name] for name in outputs if name.startswith("published")), default=None),
        "published_border": [],
        "published_attack": [],
        **{name: np.round(o[:, [label, other]], 9).tolist() for name, o in outputs.items()},
        "seconds": round(report.seconds, 6),
    }


def margins_of(row: Row, name: str) -> np.ndarray:
    """Return F_other - F_label at points of one kind, (count,): negative on the robust side."""
    scores = np.array(row[name])
    return scores[:, 1] - scores[:, 0]


@figure_1.table
def numbers(rows: Rows) -> Table:
    """Return what the picture shows, as numbers."""
    lines = []
    for row in rows:
        found = (float(margins_of(row, name).max()) for name in ("samples", "attacks"))
        holds = row["strictly_robust"], round(row["reach"], 3) <= 1
        lines.append((norm_text(row["norm"]), round(row["log_det"], 2), *row["margin_range"], *found, *holds))
    y, k = rows[0]["label"], rows[0]["other"]
    margins = (f"least F_{k} - F_{y}", "largest (proven)", "sampled", "attacked")
    columns = ("norm", "log det Q", *margins, f"ellipse is below F_{k} = F_{y}", "holds every point")
    return Table(columns, lines, 0.1, dict(zip(margins, ("lower", "upper", "lower", "lower"), strict=True)))


@figure_1.lines(
    "norm | points | number | least margin | largest | beyond the line | inside our ellipsoid",
    bounds={"least margin": "upper", "largest": "lower"},
)
def authors_points(rows: Rows) -> Lines:
    """Return where the authors' own points lie."""
    for row in rows:
        for kind in ("border", "attack"):
            if row[f"published_{kind}"]:
                found = margins_of(row, f"published_{kind}")
                ends = float(found.min()), float(found.max())
                beyond, inside = int((found > 0).sum()), row["published_reach"] <= 1
                yield norm_text(row["norm"]), kind, len(found), *ends, beyond, inside


def panel(row: Row) -> dict:
    """Return what is drawn of one norm: the ellipse and the points, each (count, 2)."""
    labels = row["label"], row["other"]
    return {
        "title": f"{norm_text(row['norm'])} ball, radius {row['epsilon_pixel']:g}",
        "labels": labels,
        "ellipse": Ellipsoid(np.array(row["Q"]), np.array(row["b"])).projection(*labels),
        **{name: np.array(row[name]).reshape(-1, 2) for name in POINTS},
    }


def drawn_points(rows: Rows) -> Table:
    """Return every point that is drawn."""
    lines = [
        (str(row["norm"]), name, float(x), float(y))
        for row, shown in zip(rows, map(panel, rows), strict=True)
        for name in ("ellipse", *POINTS)
        for x, y in shown[name]
    ]
    return Table(("norm", "points", "label score", "other score"), lines)


@figure_1.drawing(drawn_points)
def draw(rows: Rows) -> figures.Drawing:
    """Draw both norms side by side."""
    y, k = rows[0]["label"], rows[0]["other"]
    words = {True: "stays on the true label's side of", False: "crosses"}
    said = (f"the {norm_text(row['norm'])} ellipse {words[bool(row['strictly_robust'])]} $F_{k}=F_{y}$" for row in rows)
    finding = ", ".join(said)
    return figures.outer_ellipses([panel(row) for row in rows]).saying(finding[0].upper() + finding[1:])


@figure_1.cells
def cells(rows: Rows) -> Values:
    """Yield our numbers for what Figure 1 shows."""
    for row in rows:
        name = f"figure-1/l{row['norm']}"
        low, high = row["margin_range"]
        note = f"F_{row['other']} - F_{row['label']} on the ellipse: {at_least(low)} to {at_most(high)}"
        if row["norm"] == 2:
            yield f"{name}/strictly-robust", Value(int(row["strictly_robust"]), note)
        else:
            margins = np.concatenate([margins_of(row, kind) for kind in ("attacks", "published_attack") if row[kind]])
            beyond = int((margins > 0).sum())
            yield f"{name}/line-crosses", Value(int(low < 0 < high), note)
            yield f"{name}/attacks-beyond", Value(int(beyond > 0), f"{beyond} points")
        inside = max(row["reach"], row["published_reach"] or 0.0)
        yield f"{name}/points-inside", Value(int(inside <= 1), f"they reach {at_least(inside)} of the way out")
