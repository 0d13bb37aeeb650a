"""Explorer of the order as an axis: bounds of one label from interval to exact, above what an attack attains."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated

import numpy as np

from tightrope import attacks, figures
from tightrope.explorers.certification import mondeq
from tightrope.explorers.certify import COLOURS
from tightrope.explorers.controls import (
    OTHER,
    Clip,
    ImageNumber,
    NormName,
    Radius,
    mondeq_choice,
    norm_name,
    number_slider,
    page,
    still_open,
)
from tightrope.explorers.explorer import View, explores
from tightrope.networks import MonDEQ
from tightrope.outward import at_least
from tightrope.question import Limits, Question, Stop, Verdict
from tightrope.regions import Ball, pixel_ball
from tightrope.relaxations.lasserre import LARGEST
from tightrope.results.chen2021_mondeq.orders import orders_of
from tightrope.verifiers.robustness import certify
from tightrope.workbench.cases import dataset
from tightrope.workbench.tables import Table

#: A network whose region can be drawn, small enough for order 2: two inputs, three units, two labels.
PLANE = "2 inputs, 3 units"
CENTER = (0.5, -0.3)
EXACT = "exact sign"  # branch and bound stops there; its bound need not be the largest margin


@dataclass(frozen=True, eq=False)
class Orders:
    """Bounds of F_k - F_y so far: order -> upper bound, what an attack attains, and the verdict of the last order.

    `network` and `region` are there where they can be drawn.
    """

    about: str
    attained: float
    bounds: Mapping[str, float]
    verdict: Verdict = Verdict.UNKNOWN
    open: str = "orders"
    network: MonDEQ | None = None
    region: Ball | None = None


def orders_view(answer: Orders) -> View:
    """Show the bounds in the order of their strength; the region beside them where it can be drawn."""
    drawing = figures.order_axis(answer.bounds, answer.attained, _plane(answer))
    proving = [order for order, bound in answer.bounds.items() if bound < 0]
    if answer.attained >= 0:
        headline, verdict = "falsified: an attack reaches the label", Verdict.FALSIFIED
    elif proving:
        headline, verdict = f"certified: {proving[0]} is the first order that proves it", Verdict.CERTIFIED
    else:
        headline, verdict = "unknown: no order proves it, and no attack reaches it", Verdict.UNKNOWN
    said = {order: "certified" if bound < 0 else "open" for order, bound in answer.bounds.items()}
    rows = [(order, bound if np.isfinite(bound) else None, said[order]) for order, bound in answer.bounds.items()]
    table = Table(("order", "F_k - F_y at most", "label k"), rows, bounds={"F_k - F_y at most": "upper"})
    lines = [answer.about, f"an attack attains {at_least(answer.attained, 3)}", still_open(answer)]
    text = page(headline, lines, table, COLOURS.get(verdict, OTHER))
    return View(drawing._repr_png_(), text, f"{answer.about}: {headline}")


def _plane(answer: Orders) -> Mapping | None:
    """The margin on a grid of the plane, (n, n), with the region's outline: what is drawn of two inputs."""
    network, region = answer.network, answer.region
    if network is None or region is None:
        return None
    label = int(network.predict(region.center))
    axes = [middle + 2 * region.radius * np.linspace(-1, 1, 161) for middle in region.center]
    points = np.stack(np.meshgrid(*axes), -1)
    scores = network.logits(points.reshape(-1, 2)).reshape(161, 161, -1)
    distance = np.linalg.norm(points - region.center, region.norm, axis=-1)
    return {"axes": axes, "margin": scores[..., 1 - label] - scores[..., label], "inside": distance - region.radius}


@explores("orders", orders_view)
def orders(
    network: Annotated[str, lambda value: mondeq_choice(value, (PLANE,))] = "digits/mondeq-16",
    image: ImageNumber = 4,
    label: Annotated[int, lambda value: number_slider(value, 9, "label k")] = 8,
    norm: NormName = "inf",
    epsilon_pixel: Radius = 0.12,
    clip: Clip = False,
    *,
    stop: Stop,
) -> Iterator[Orders]:
    """Explore what each order proves of one label; with the defaults 1 leaves it open and 1+cuts closes it.

    The attack and the orders come from cheap to dear, branch and bound at the end. The network is a monDEQ of the zoo,
    or :data:`PLANE`, which has one image and two labels and whose ball, in units of its inputs, is never cut. Test
    images count from 0; the margin F_k - F_y of the label k is bounded.
    """
    asked, region, true, target, about = _question(network, image, label, str(norm), epsilon_pixel, clip)
    found = attacks.pgd(Question(asked, region, true, [target]))
    small = asked.width + region.size <= LARGEST
    shown = {"network": asked, "region": region} if region.size == 2 else {}
    sampled = asked.logits(region.sample(1000, np.random.default_rng(0)))
    attained = max(float(found.best_margin[target]), float((sampled[:, target] - sampled[:, true]).max()))
    answer = Orders(about, attained, {}, **shown)
    yield answer
    bounds: dict[str, float] = {}
    for order, bound, _ in orders_of(asked, region, true, target):
        name = order.split(",")[0]  # the last round of cuts
        bounds[name] = min(bound, bounds.get(name, np.inf))
    del bounds["monotone"]
    answer = replace(answer, bounds=dict(bounds), open=f"order 2, {EXACT}" if small else EXACT)
    yield answer
    options = {"targets": [target], "attack": False, "limits": Limits(time=60.0, stop=stop)}
    if small:
        report = certify(asked, region, true, method="interior-point", order="2", **options)
        answer = replace(answer, bounds={**answer.bounds, "2": _bound(report)}, open=EXACT)
        yield answer
    report = certify(asked, region, true, method="branch-and-bound", **options)
    verdict = Verdict.FALSIFIED if answer.attained >= 0 else report.verdict
    yield replace(answer, bounds={**answer.bounds, EXACT: _bound(report)}, verdict=verdict, open="")


def _question(
    name: str, image: int, label: int, norm: str, radius: float, clip: bool
) -> tuple[MonDEQ, Ball, int, int, str]:
    """Network, region, y, k, and what they are called."""
    words = f"{norm_name(norm)} {radius:g}"
    if name == PLANE:
        true = int(plane().predict(CENTER))
        return plane(), Ball(CENTER, radius, norm), true, 1 - true, f"{PLANE}, {words}"
    found = mondeq(name)
    data = dataset(found.dataset)
    true = data.label(image)
    target = label if label != true else (label + 1) % found.network.classes
    region = pixel_ball(data.image(image), norm, radius, found.normalisation, clip)
    return found.network, region, true, target, f"image {image}, a {true}, against {target}, {words}"


@cache
def plane() -> MonDEQ:
    """Return the network of two inputs: at radius 0.6 around :data:`CENTER` only order 2 proves its label."""
    rng = np.random.default_rng(57)
    A, B, U = (rng.standard_normal(shape) for shape in [(3, 3), (3, 3), (3, 2)])
    u, C, c = (rng.standard_normal(shape) for shape in [3, (2, 3), 2])
    return MonDEQ.from_factors(A, B, U, u, C, c, m=1.0)


def _bound(report) -> float:
    (decision,) = report.decisions
    return np.inf if decision.bound is None else decision.bound
