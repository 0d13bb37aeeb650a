"""The column Ellipsoid Model of Table 2: one outer ellipsoid per image and set, and what it certifies.

Its rows are kept apart from those of the Robustness Model, under :data:`ELLIPSOIDS`. Where the authors published an
ellipsoid for the same image and set, it is put beside ours: its log det, the outputs that it holds, its verdict.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tightrope import datasets
from tightrope.results.chen2021_mondeq.common import PAPER, SETS, make_case, norm_text, percent, question
from tightrope.results.chen2021_mondeq.published_ellipsoids import (
    ellipsoid_file,
    is_published_network,
    outer_points,
    published_ellipsoid,
    reach,
)
from tightrope.verifiers.ellipsoid import Ellipsoid, margins_of, outer_ellipsoid
from tightrope.workbench.cases import dataset, entry, image_count, solved
from tightrope.workbench.legacy import checked
from tightrope.workbench.published import find
from tightrope.workbench.records import Store
from tightrope.workbench.registry import Value
from tightrope.workbench.tables import Table

ELLIPSOIDS = "table-2-ellipsoids"
TABLE_2 = "table-2-certified-ratio"
SAMPLES = 50  # of each kind of point at which outputs are checked
METHODS = {"ellipsoid": "1", "ellipsoid-1+cuts": "1+cuts"}  # as a row names it, with the order of the model


@dataclass(frozen=True)
class EllipsoidSetting:
    """Counts and means of one norm, radius, set and order.

    Attributes
    ----------
    certified, failed : int
        Images whose ellipsoid stays on the robust side; for which none was proven.
    log_det : (float, float)
        The smallest and the largest log det Q.
    sampled : float
        The largest ||Q F(x) + b|| over sampled points and images: below 1.
    published_certified, published_log_det, published_sampled
        The same of the authors' ellipsoids; None where there are none.
    """

    norm: object
    epsilon_pixel: float
    clip: bool
    order: str
    images: int
    certified: int
    failed: int
    log_det: tuple[float, float]
    sampled: float
    seconds: float
    published_certified: int | None
    published_log_det: tuple[float, float] | None
    published_sampled: float | None

    @property
    def name(self) -> str:
        """The setting in a cell's id, such as ``linf-0.05``."""
        return f"l{self.norm}-{self.epsilon_pixel:g}"


@dataclass(frozen=True)
class EllipsoidColumn:
    """Rows of the column and what is shown of them."""

    rows: tuple[dict, ...]

    @property
    def ratios(self) -> Table:
        """Certified images beside the printed ratio, and the authors' own ellipsoids."""
        return ratio_table(self.rows)

    @property
    def sizes(self) -> Table:
        """log det Q and the outputs held, ours and the authors'."""
        return size_table(self.rows)


def table_2_ellipsoids(
    network: str,
    images: int,
    epsilons_l2: Sequence[float] = (0.1,),
    epsilons_linf: Sequence[float] = (0.1, 0.05, 0.01),
    ellipsoids_clipped: Sequence[float] = (0.05,),
    seed: int = 0,
    profile: str = "quick",
    store: Store | None = None,
    solve: Callable[[Mapping], Mapping] | None = None,
) -> EllipsoidColumn:
    """The ratio of images certified by the Ellipsoid Model; parameters as in `table_2`.

    Parameters
    ----------
    ellipsoids_clipped
        L-infinity radii at which the ball cut to the pixel range gets an ellipsoid too.
    """
    parameters = dict(
        network=network, images=images, epsilons_l2=epsilons_l2, epsilons_linf=epsilons_linf,
        ellipsoids_clipped=ellipsoids_clipped, seed=seed, profile=profile,
    )  # fmt: skip
    return EllipsoidColumn(solved(ellipsoid_cases(parameters), solve or enclose, store))


@checked()
def ellipsoid_cases(parameters: Mapping) -> list[dict]:
    """One case per image, norm, radius, set and order, image by image."""
    count = image_count(parameters["images"], dataset(entry(parameters["network"]).dataset))
    sets = [(2, epsilon, False) for epsilon in parameters["epsilons_l2"]]
    sets += [("inf", epsilon, False) for epsilon in parameters["epsilons_linf"]]
    sets += [("inf", epsilon, True) for epsilon in parameters["ellipsoids_clipped"]]
    return [
        make_case(ELLIPSOIDS, parameters, norm, epsilon, clip, image, method)
        for image in range(count)
        for norm, epsilon, clip in sets
        for method in METHODS
    ]


def enclose(case: Mapping) -> dict:
    """Solve one case, and check ours and the authors' ellipsoid at sampled points of the set."""
    network, region, label = question(case)
    report = outer_ellipsoid(network, region, order=METHODS[case["method"]])
    points = outer_points(region, SAMPLES, np.random.default_rng([case["options"]["seed"], case["image"]]))
    row = {
        "label": label,
        "predicted": int(network.predict(region.center)),
        "ellipsoid": report.verdict(label).value,
        "reason": str(report.solve.status) if report.ellipsoid is None else "",
        **_described(report.ellipsoid, network, label, points, ""),
        "gap": report.solve.gap,
        "iterations": report.solve.iterations,
        "solver": f"{report.solve.solver} {report.solve.version}",
        "seconds": round(report.seconds, 6),
    }
    return row | _described(_published(case), network, label, points, "published_")


def _published(case: Mapping) -> Ellipsoid | None:
    if case["clip"] or case["method"] != "ellipsoid" or not is_published_network(case["network"]):
        return None
    file = ellipsoid_file(case["image"], case["norm"], case["epsilon_pixel"])
    if file is None or not datasets.available(file):
        return None
    return published_ellipsoid(case["image"], case["norm"], case["epsilon_pixel"])


def _described(ellipsoid: Ellipsoid | None, network, label: int, points: np.ndarray, prefix: str) -> dict:
    values = dict.fromkeys(("log_det", "largest_margin", "sampled"))
    if ellipsoid is not None:
        values = {
            "log_det": ellipsoid.log_det,
            "largest_margin": float(np.delete(margins_of(ellipsoid, label), label).max()),
            "sampled": reach(ellipsoid, network, points),
        }
    return {f"{prefix}{name}": value for name, value in values.items()}


def ellipsoid_settings(rows: Sequence[Mapping]) -> tuple[EllipsoidSetting, ...]:
    """Counts by norm, radius (largest first), set and order."""
    groups: dict[tuple, list[Mapping]] = {}
    for row in rows:
        groups.setdefault((row["norm"], row["epsilon_pixel"], row["clip"], METHODS[row["method"]]), []).append(row)
    ordered = sorted(groups.items(), key=lambda item: (str(item[0][0]), -item[0][1], *item[0][2:]))
    return tuple(_setting(*key, group) for key, group in ordered)


def _setting(norm, epsilon_pixel: float, clip: bool, order: str, rows: Sequence[Mapping]) -> EllipsoidSetting:
    def column(name):
        return [row[name] for row in rows if row[name] is not None]

    theirs = column("published_log_det") if len(column("published_log_det")) == len(rows) else []
    ours = column("log_det")
    return EllipsoidSetting(
        norm=norm,
        epsilon_pixel=epsilon_pixel,
        clip=clip,
        order=order,
        images=len(rows),
        certified=sum(row["ellipsoid"] == "certified" for row in rows),
        failed=sum(row["ellipsoid"] == "failed" for row in rows),
        log_det=(min(ours, default=np.nan), max(ours, default=np.nan)),
        sampled=max(column("sampled"), default=np.nan),
        seconds=float(np.mean([row["seconds"] for row in rows])),
        published_certified=sum(m < 0 for m in column("published_largest_margin")) if theirs else None,
        published_log_det=(min(theirs), max(theirs)) if theirs else None,
        published_sampled=max(column("published_sampled")) if theirs else None,
    )


def _printed(s: EllipsoidSetting) -> float | None:
    cells = {cell.id: cell.printed for cell in find(f"{PAPER}/{TABLE_2}").cells}
    return None if s.clip or s.order != "1" else cells.get(f"table-2/{s.name}/ellipsoid")


def ratio_table(rows: Sequence[Mapping]) -> Table:
    """Percent certified, the printed ratio, and what the published ellipsoids certify by the same criterion."""
    lines = [
        (norm_text(s.norm), s.epsilon_pixel, SETS[s.clip], s.order, s.images,
         percent(s.certified, s.images), _printed(s),
         None if s.published_certified is None else percent(s.published_certified, s.images), s.failed)
        for s in ellipsoid_settings(rows)
    ]  # fmt: skip
    columns = ("norm", "epsilon", "set", "order", "images",
               "Ellipsoid Model %", "printed", "published ellipsoids %", "failed")  # fmt: skip
    return Table(columns, tuple(lines))


def size_table(rows: Sequence[Mapping]) -> Table:
    """log det Q (larger is smaller in volume) and how far sampled outputs reach, in units of the ellipsoid."""
    lines = [
        (norm_text(s.norm), s.epsilon_pixel, SETS[s.clip], s.order, _range(s.log_det), _range(s.published_log_det),
         round(s.sampled, 3), s.published_sampled and round(s.published_sampled, 3))
        for s in ellipsoid_settings(rows)
    ]  # fmt: skip
    columns = ("norm", "epsilon", "set", "order", "log det Q", "published", "sampled outputs reach", "published ")
    return Table(columns, tuple(lines))


def _range(values: tuple[float, float] | None) -> str:
    if values is None:
        return ""
    low, high = values
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.1f} to {high:.1f}"


def kept_ellipsoids(network: str, profile: str) -> list[dict]:
    """The rows that are kept, without solving."""
    with Store() as store:
        rows = store.rows(ELLIPSOIDS, profile, PAPER)
    return [row for row in rows if row["network"] == network]


def ellipsoid_cells(rows: Sequence[Mapping], images: int) -> dict[str, Value]:
    """Our numbers for the printed cells of the column, of the settings for which every image is solved."""
    found = {(s.name, s.clip, s.order): s for s in ellipsoid_settings(rows) if s.images == images}
    values = {}
    for (name, clip, order), s in found.items():
        if clip or order != "1":
            continue
        others = (("with cuts", found.get((name, False, "1+cuts"))),
                  ("on the ball clipped to [0, 1]", found.get((name, True, "1"))))  # fmt: skip
        notes = [f"{percent(other.certified, images)} {what}" for what, other in others if other]
        if s.published_certified is not None:
            notes.append(f"{percent(s.published_certified, images)} by the published ellipsoids")
        values[f"table-2/{name}/ellipsoid"] = Value(percent(s.certified, images), "; ".join(notes))
    unclipped = [s for (_, clip, order), s in found.items() if not clip and order == "1"]
    if len(unclipped) == 4:
        mean = float(np.mean([s.seconds for s in unclipped]))
        values["table-2/seconds/ellipsoid-per-example"] = Value(mean, "mean over the four unclipped settings")
    return values
