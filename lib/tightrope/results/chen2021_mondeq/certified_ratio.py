"""Table 2: certified images by the Robustness Model, and the images that attacks leave."""

import time
from collections.abc import Mapping

import numpy as np

from tightrope import attacks, figures
from tightrope.errors import CertificateError, UnknownNameError
from tightrope.networks import FeedForward, MonDEQ
from tightrope.question import Limits, Question, Verdict
from tightrope.regions import Region
from tightrope.verifiers import robustness
from tightrope.workbench.cases import first_images
from tightrope.workbench.certificates import COLUMN, Claim, Statement, proof_of
from tightrope.workbench.experiment import Case, Cases, Experiment, Lines, Radii, Row, Rows, Table, Value, Values
from tightrope.workbench.published import find
from tightrope.workbench.rows import binomial_interval, percent
from tightrope.workbench.tables import interval
from . import ellipsoid_ratio, lipschitz_ratio
from .certified_radii import table_2_radii
from .common import (
    BALL,
    PAPER,
    ball_name,
    balls,
    by_ball,
    cases_around,
    in_words,
    is_published_network,
    question,
    undecided,
)
from .ellipsoid_ratio import table_2_ellipsoids
from .fixpoint_ratio import table_2_fixpoints
from .lipschitz_bounds import global_constants
from .lipschitz_ratio import table_2_lipschitz

table_2 = Experiment(
    PAPER,
    "table-2-certified-ratio",
    also=[table_2_ellipsoids, table_2_fixpoints, global_constants, table_2_lipschitz, table_2_radii],
)
TOLD = ("label", "verdict", "bound", "attack_margin", "method", "solver")  # of each label


@table_2.cases
def cases(network: str, images: int, epsilons_l2: Radii, epsilons_linf: Radii, method: str, seed: int) -> Cases:
    """Return one case for each image, norm, radius and set.

    `method` is one of `tightrope.verifiers.robustness.methods()`, `seed` that of the attacks.
    """
    if method not in robustness.methods():
        raise UnknownNameError("method", method, robustness.methods())
    around = balls(epsilons_l2, epsilons_linf)
    return cases_around(network, first_images(network, images), around, [method], {"seed": seed})


@table_2.states
def all_labels(row: Row) -> Statement | None:
    """Return that each other label stays below the image's own, where it is certified."""
    if row["robustness"] != "certified":
        return None
    targets = [label["label"] for label in row["labels"]]
    claims = tuple(Claim({"label": row["label"], "target": target}, "<", 0.0) for target in targets)

    def about() -> tuple[MonDEQ | FeedForward, Region]:
        network, region, label = question(row)
        if sorted([label, *targets]) != list(range(network.classes)) or row["label"] != label:
            raise CertificateError("the row does not have the image's label and all others")
        return network, region

    return Statement(claims, about)


@table_2.solve
def attack_and_certify(case: Case) -> dict:
    """Attack one image with Foolbox and with ours, and certify every other label."""
    network, region, label = question(case)
    seed = case["options"]["seed"]
    start = time.perf_counter()
    by_foolbox = attacks.foolbox_pgd(Question(network, region, label), seed=seed)
    between = time.perf_counter()
    asked = {"targets": "all", "method": case["method"], "complete": False}
    report = robustness.certify(network, region, label, **asked, limits=Limits(seed=seed))
    end = time.perf_counter()
    foolbox = report.predicted != label or by_foolbox is not None
    attacked = foolbox or report.attack is not None
    labels = [
        {name: told[name] for name in TOLD}
        | {"seconds": round(told["seconds"], 6)}
        | ({"reason": told["reason"]} if told["reason"] else {})
        for told in report.to_dict()["labels"]
    ]
    outcome = {
        "label": label,
        "predicted": int(report.predicted),
        "robustness": report.verdict.value,
        "pgd": (Verdict.FALSIFIED if attacked else Verdict.UNKNOWN).value,
        "foolbox": (Verdict.FALSIFIED if foolbox else Verdict.UNKNOWN).value,
        "labels": labels,
        "seconds": round(end - between, 6),
        "seconds_foolbox": round(between - start, 6),
    }
    return outcome | {COLUMN: proof_of(all_labels({**case, **outcome}), report)}


def contradictions(rows: Rows) -> list[tuple[dict, dict]]:
    """Return pairs (certified, attacked) of one image whose attacked set lies inside the certified one."""
    attacked = dict(rows.where(pgd="falsified").by("image"))
    return [
        (row, other)
        for row in rows.where(robustness="certified")
        for other in attacked.get((row["image"],), ())
        if _inside(other, row)
    ]


def _inside(inner: Mapping, outer: Mapping) -> bool:
    """Whether one set of an image is inside another; an L2 ball is in the L-infinity ball of its radius."""
    norms = inner["norm"] == outer["norm"] or (inner["norm"], outer["norm"]) == (2, "inf")
    return norms and inner["epsilon_pixel"] <= outer["epsilon_pixel"] and inner["clip"] >= outer["clip"]


@table_2.lines(
    "norm | epsilon | set | images | certified % | 95 % of certified | not attacked % | 95 % of not attacked",
    "Foolbox alone % | undecided | failed",
)
def ratios(rows: Rows) -> Lines:
    """Return ratios in percent with exact 95 % intervals; refuse a set that is certified and has an attack inside."""
    wrong = sorted({str(row["image"]) for row, _ in contradictions(rows)})
    if wrong:
        raise CertificateError(f"certified and attacked on the same set: images {', '.join(wrong)}")
    for ball, own in by_ball(rows):
        certified, not_attacked = own.count(robustness="certified"), own.count(pgd="unknown")
        shares: list[object] = []
        for count in (certified, not_attacked):
            ends = [100 * end for end in binomial_interval(count, len(own))]
            shares += [percent(count, len(own)), interval(ends)]
        rest = own.percent(foolbox="unknown"), not_attacked - certified, own.count(robustness="failed")
        yield *in_words(*ball), len(own), *shares, *rest


@table_2.lines("norm | epsilon | set | s / image | s / problem")
def seconds(rows: Rows) -> Lines:
    """Return seconds per image (all other labels, attack included) and per problem."""
    for ball, own in by_ball(rows):
        yield *in_words(*ball), own.mean("seconds"), seconds_per_problem(own)


def seconds_per_problem(rows: Rows) -> float | None:
    """Return the mean seconds of a label that needed a relaxation; None if there is none."""
    spent = [label["seconds"] for row in rows for label in row["labels"] if label["bound"] is not None]
    return float(np.mean(spent)) if spent else None


@table_2.table
def images(rows: Rows) -> Table:
    """Return what was decided: one line for each image, one column for each norm, radius and set."""
    columns = [ball for ball, _ in by_ball(rows)]
    lines = []
    for (image,), own in sorted(rows.by("image")):
        found = [own.one(**dict(zip(BALL, ball, strict=True))) for ball in columns]
        verdicts = [row and ("attacked" if row["pgd"] == "falsified" else row["robustness"]) for row in found]
        lines.append((image, own[0]["label"], own[0]["predicted"], *verdicts))
    names = (f"l{norm} {epsilon:g}{' in [0, 1]' if clip else ''}" for norm, epsilon, clip in columns)
    return Table(("image", "label", "predicted", *names), lines)


@table_2.drawing(ratios)
def draw(rows: Rows) -> figures.Drawing:
    """Draw the ratios, with marks at the printed ones if they are of this network; both sets of a radius together."""
    same = all(map(is_published_network, rows.different("network")))
    cells = {(cell.id, bool(cell.clip)): cell.printed for cell in find(f"{PAPER}/{table_2.name}").cells if same}
    bars = []
    for (*radius, clip), own in by_ball(rows):
        norm, epsilon, region = in_words(*radius, clip)
        printed = (cells.get((f"table-2/{ball_name(*radius)}/{column}", clip)) for column in ("robustness", "pgd"))
        counts = own.count(robustness="certified"), own.count(pgd="falsified"), len(own)
        bars.append((f"{norm}  {epsilon:g}  {region}", *counts, *printed))
    drawing = figures.stacked_ratios(bars, "certified, undecided and attacked images", together=2)
    return drawing.saying(undecided(bars))


@table_2.cells
def cells(rows: Rows, profile: str, network: str, images: int, epsilons_l2: Radii, epsilons_linf: Radii) -> Values:
    """Yield our numbers for the printed cells, of the balls for which every image is solved."""
    counts = table_2_lipschitz.kept(profile, network=network, images=images)
    yield from lipschitz_ratio.cells(counts, global_constants.kept(profile, network=network))
    yield from ellipsoid_ratio.cells(table_2_ellipsoids.kept(profile, network=network), images)
    whole = {ball: own for ball, own in by_ball(rows) if len(own) == images}
    for (norm, epsilon, clip), own in whole.items():
        other = whole.get((norm, epsilon, not clip))
        if clip:
            note = f"Foolbox alone: {own.percent(foolbox='unknown')}"
            note += f"; {other.percent(pgd='unknown')} on the unclipped ball" if other else ""
            yield f"table-2/{ball_name(norm, epsilon)}/pgd", Value(own.percent(pgd="unknown"), note)
        else:
            note = f"{other.percent(robustness='certified')} on the ball clipped to [0, 1]" if other else ""
            share = own.percent(robustness="certified")
            yield f"table-2/{ball_name(norm, epsilon)}/robustness", Value(share, note, own)
    if len(whole) == 2 * (len(epsilons_l2) + len(epsilons_linf)):
        wrong = contradictions(Rows(row for own in whole.values() for row in own))
        yield "table-2/certified-and-attacked", Value(len({row["image"] for row, _ in wrong}))
        unclipped = [own for (_, _, clip), own in whole.items() if not clip]
        mean = float(np.mean([np.mean(own.column("seconds")) for own in unclipped]))
        note = "mean over the four unclipped settings, attack included"
        yield "table-2/seconds/robustness-per-example", Value(mean, note)
        if problems := [spent for own in unclipped if (spent := seconds_per_problem(own)) is not None]:
            yield "table-2/seconds/robustness-per-problem", Value(float(np.mean(problems)))
