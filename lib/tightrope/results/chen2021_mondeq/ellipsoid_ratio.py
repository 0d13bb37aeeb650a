"""The column Ellipsoid Model of Table 2: one outer ellipsoid for each image and set, and what it certifies.

Where the authors published an ellipsoid for the same image and set, it is put beside ours: its log det, the outputs
that it holds, its verdict.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tightrope.networks import MonDEQ
from tightrope.verifiers.ellipsoid import Ellipsoid, margins_of, outer_ellipsoid
from tightrope.workbench.cases import first_images
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Radii, Rows, Value, Values
from tightrope.workbench.rows import percent
from .common import PAPER, ball_name, balls, by_ball, cases_around, in_words, is_published_network, question
from .published_ellipsoids import outer_points, published_ellipsoid, reach

table_2_ellipsoids = Experiment(PAPER, "table-2-ellipsoids")
SAMPLES = 50  # of each kind of point at which outputs are checked
ORDERS = {"ellipsoid": "1", "ellipsoid-1+cuts": "1+cuts"}  # as a row names it, with the order of the model


@table_2_ellipsoids.cases
def cases(
    network: str, images: int, epsilons_l2: Radii, epsilons_linf: Radii, ellipsoids_clipped: Radii, seed: int
) -> Cases:
    """Return one case for each image, norm, radius, set and order.

    `ellipsoids_clipped` are L-infinity radii at which the ball cut to the pixel range gets an ellipsoid too.
    """
    around = balls(epsilons_l2, epsilons_linf, [False]) + balls((), ellipsoids_clipped, [True])
    return cases_around(network, first_images(network, images), around, ORDERS, {"seed": seed})


@table_2_ellipsoids.solve
def certify_by_ellipsoid(case: Case) -> dict:
    """Find the ellipsoid of one image, and check it and the authors' at sampled points of the set."""
    network, region, label = question(case)
    report = outer_ellipsoid(network, region, order=ORDERS[case["method"]])
    points = outer_points(region, SAMPLES, np.random.default_rng([case["options"]["seed"], case["image"]]))
    theirs = None
    if is_published_network(case["network"]) and not case["clip"] and case["method"] == "ellipsoid":
        theirs = published_ellipsoid(case["image"], case["norm"], case["epsilon_pixel"])
    return {
        "label": label,
        "predicted": int(network.predict(region.center)),
        "ellipsoid": report.verdict_of(label).value,
        "reason": str(report.solve.status) if report.ellipsoid is None else "",
        **_described(report.ellipsoid, network, label, points, ""),
        "gap": report.solve.gap,
        "iterations": report.solve.iterations,
        "solver": f"{report.solve.solver} {report.solve.version}",
        "seconds": round(report.seconds, 6),
        **_described(theirs, network, label, points, "published_"),
    }


def _described(ellipsoid: Ellipsoid | None, network: MonDEQ, label: int, points: np.ndarray, prefix: str) -> dict:
    values = dict.fromkeys(("log_det", "largest_margin", "sampled"))
    if ellipsoid is not None:
        values = {
            "log_det": ellipsoid.log_det,
            "largest_margin": float(np.delete(margins_of(ellipsoid, label), label).max()),
            "sampled": reach(ellipsoid, network.logits(points)),
        }
    return {f"{prefix}{name}": value for name, value in values.items()}


def by_order(rows: Rows) -> Iterator[tuple[tuple, Rows, Rows]]:
    """Yield (norm, radius, clip, order), its rows, and the same rows if the authors published an ellipsoid for each."""
    for (norm, epsilon, clip, method), own in by_ball(rows, "method"):
        published = own if len(own.column("published_log_det")) == len(own) else Rows()
        yield (norm, epsilon, clip, ORDERS[method]), own, published


def percent_published(published: Rows) -> int | float | None:
    """Return for how many images, in percent, the published ellipsoids certify; None where there are none."""
    margins = published.column("published_largest_margin")
    return percent(sum(margin < 0 for margin in margins), len(margins)) if margins else None


CERTIFIED = ("Ellipsoid Model %", "published ellipsoids %")
REACH = {"sampled outputs reach": "lower", "outputs in the published one": "lower"}


@table_2_ellipsoids.lines("norm | epsilon | set | order | images", *CERTIFIED, "failed")
def ratios(rows: Rows) -> Lines:
    """Return percent certified, and what the published ellipsoids certify by the same criterion."""
    for (*ball, order), own, published in by_order(rows):
        shares = own.percent(ellipsoid="certified"), percent_published(published)
        yield *in_words(*ball), order, len(own), *shares, own.count(ellipsoid="failed")


@table_2_ellipsoids.lines(
    "norm | epsilon | set | order | log det Q | of the published one",
    *REACH,
    # A thin ellipsoid is as large as the rounding allows, which differs between processors.
    tolerance={"log det Q": 0.2, "sampled outputs reach": 0.002},
    bounds=REACH,
)
def sizes(rows: Rows) -> Lines:
    """Return log det Q (larger is smaller in volume) and how far sampled outputs reach, in units of the ellipsoid."""
    for (*ball, order), own, published in by_order(rows):
        log_dets = _range(own.column("log_det")), _range(published.column("published_log_det"))
        sampled = own.column("sampled"), published.column("published_sampled")
        yield *in_words(*ball), order, *log_dets, *(max(some, default=None) for some in sampled)


def _range(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.1f} to {high:.1f}"


def cells(rows: Rows, images: int) -> Values:
    """Yield our numbers for the printed cells of the column, of the balls for which every image is solved."""
    whole = {ball: (own, published) for ball, own, published in by_order(rows) if len(own) == images}
    means = []
    for (norm, epsilon, clip, order), (own, published) in whole.items():
        if clip or order != "1":
            continue
        notes = []
        for what, *other in (("with cuts", False, "1+cuts"), ("on the ball clipped to [0, 1]", True, "1")):
            if (norm, epsilon, *other) in whole:
                notes.append(f"{whole[norm, epsilon, *other][0].percent(ellipsoid='certified')} {what}")
        if published:
            notes.append(f"{percent_published(published)} by the published ellipsoids")
        share = own.percent(ellipsoid="certified")
        yield f"table-2/{ball_name(norm, epsilon)}/ellipsoid", Value(share, "; ".join(notes))
        means.append(np.mean(own.column("seconds")))
    if len(means) == 4:
        mean = Value(float(np.mean(means)), "mean over the four unclipped settings")
        yield "table-2/seconds/ellipsoid-per-example", mean
